"""Grippers obey several requests that agree."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.debounce import Debounce
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import GuardRig, twist_spec

SPEC = ActionSpec(
    dimensions=(
        ActionDimension(name="x", quantity="linear", unit="m/s", semantics="velocity", frame="base"),
        ActionDimension(name="left", quantity="gripper", unit="1", semantics="absolute"),
        ActionDimension(name="right", quantity="gripper", unit="m", semantics="absolute"),
    )
)


def play(requests: list[float], limits: Limits | None = None, start: float = 0.0) -> list[float]:
    """Left gripper after each request; everything else must pass unchanged."""
    debounce = Debounce(SPEC, limits or Limits())
    debounce.reset(np.array([0.0, start, start]))
    out = []
    for k, value in enumerate(requests):
        given = np.array([0.1 * k, value, value / 10])
        got = debounce.apply(given, (k, 0))
        assert got[0] == given[0]
        out.append(float(got[1]))
    return out


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([1, 1, 1, 1, 1], [0, 0, 1, 1, 1]),
        ([1, 1, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0]),
        ([0, 1, 0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0]),
        ([0, 0, 0, 1, 0, 0, 1, 0, 0], [0] * 9),
        ([0.5, 0.6, 0.7, 0.8, 0.9], [0, 0, 0.5, 0.6, 0.7]),
    ],
)
def test_three_of_five(requests: list[float], expected: list[float]) -> None:
    assert play(requests) == expected


def test_a_larger_majority_stays_where_it_is_until_there_is_one() -> None:
    limits = Limits(gripper_votes=4)
    assert play([1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0], limits) == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0]
    assert play([1, 0, 1, 0], Limits(gripper_votes=1, gripper_window=1)) == [1, 0, 1, 0]


def test_ticks_of_one_request_are_one_request() -> None:
    debounce = Debounce(SPEC, Limits())
    debounce.reset(np.zeros(3))
    opened = np.array([0.0, 1.0, 0.1])
    assert all(debounce.apply(opened, (0, 0))[1] == 0 for _ in range(50))
    assert debounce.apply(opened, (0, 1))[1] == 0
    assert debounce.apply(opened, (1, 0))[1] == 1


def test_an_interpolated_request_counts_as_it_is_now() -> None:
    debounce = Debounce(SPEC, Limits())
    debounce.reset(np.zeros(3))
    for row in range(5):
        debounce.apply(np.array([0.0, 0.5, 0.05]), (0, row))
    assert debounce.apply(np.array([0.0, 0.9, 0.09]), (0, 5))[1] == 0.5
    assert debounce.apply(np.array([0.0, 0.1, 0.01]), (0, 5))[1] == 0.5
    assert debounce.apply(np.array([0.0, 0.4, 0.04]), (0, 6))[1] == 0.5
    assert debounce.apply(np.array([0.0, 0.4, 0.04]), (0, 7))[1] == 0.4


def test_where_the_gripper_is_unknown_the_first_request_says_it() -> None:
    assert play([0.7, 0.7, 0.2], start=np.nan) == [0.7, 0.7, 0.7]


def test_reset_forgets_the_votes() -> None:
    debounce = Debounce(SPEC, Limits())
    debounce.reset(np.zeros(3))
    for k in range(2):
        debounce.apply(np.array([0.0, 1.0, 0.1]), (k, 0))
    debounce.reset(np.array([0.0, 0.3, 0.03]))
    assert debounce.apply(np.array([0.0, 1.0, 0.1]), (1, 0))[1] == 0.3


def test_without_grippers_nothing_is_touched() -> None:
    debounce = Debounce(twist_spec(), Limits())
    debounce.reset(np.zeros(6))
    values = np.arange(6.0)
    assert debounce.apply(values, (0, 0)) is values


def test_one_flickering_chunk_does_not_move_a_real_gripper() -> None:
    gripper = ActionSpec(dimensions=SPEC.dimensions[1:2])
    rig = GuardRig(gripper)
    rig.arm()
    for k in range(40):
        rig.run(0.1, [1.0 if k % 4 == 3 else 0.0])
    assert not rig.commands().any()
    rig.run(1.5, [1.0])
    assert rig.commands()[-1].tolist() == pytest.approx([1.0], abs=1e-4)
