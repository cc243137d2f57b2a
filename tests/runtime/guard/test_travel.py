"""The way within a window of time."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.axes import blocks_of
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import GuardRig
from jetvla.runtime.guard.travel import Travel

MS = 1_000_000
P = 0.01
SPEC = ActionSpec(
    dimensions=(
        *(ActionDimension(name=n, quantity="linear", unit="m/s", semantics="velocity", frame="base") for n in "xy"),
        ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute"),
        ActionDimension(name="k", quantity="joint", unit="rad", semantics="absolute"),
    )
)


def travel(limits: Limits | None = None) -> Travel:
    return Travel(SPEC.names, blocks_of(SPEC, limits or Limits()), P)


def first_excess(meter: Travel, commands: list[list[float]], step_ns: int = 10 * MS) -> tuple[int, str]:
    """Number of the command at which it objects, and how; -1 if it never does."""
    for k, command in enumerate(commands):
        if said := meter.add(np.array(command), k * step_ns):
            return k, said
    return -1, ""


def test_full_speed_for_ever_is_legal() -> None:
    commands = [[0.15, 0.2, 0.005 * k, -0.005 * k] for k in range(500)]
    assert first_excess(travel(), commands) == (-1, "")


@pytest.mark.parametrize(
    ("speed", "own", "expected"),
    [
        (0.26, {}, (10, "x, y went 0.026 within 0.1 s; the limit is 0.0255")),
        (0.2, {"travel_1s": 0.189}, (95, "x, y went 0.19 within 1 s; the limit is 0.189")),
    ],
)
def test_a_rate_beyond_the_window_s_limit_is_named(
    speed: float, own: dict[str, float], expected: tuple[int, str]
) -> None:
    limits = Limits.from_overrides({"linear": own})
    assert first_excess(travel(limits), [[speed, 0, 0, 0]] * 500) == expected


def test_there_and_back_counts_twice() -> None:
    small = [[0, 0, 0.006 * (k % 2), 0] for k in range(200)]
    k, said = first_excess(travel(), small)
    assert said == "j went 0.054 within 0.1 s; the limit is 0.051"
    assert k == 9
    assert first_excess(travel(), [[0, 0, 0.0045 * (k % 2), 0] for k in range(200)]) == (-1, "")


def test_many_steps_in_no_time_add_up() -> None:
    k, said = first_excess(travel(), [[0, 0, 1e-4 * k, 0] for k in range(2000)], step_ns=1000)
    assert k == 511
    assert said.startswith("j went 0.0511 within 0.1 s")


def test_what_is_older_than_the_window_is_forgotten() -> None:
    meter = travel(Limits.from_overrides({"joint": {"travel_100ms": 0.02, "travel_1s": 0.062}}))
    now = 0
    for burst in range(20):
        for k in range(4):
            assert meter.add(np.array([0, 0, 0.005 * (3 * burst + k), 0]), now) == ""
            now += 10 * MS
        now += 260 * MS
    assert meter.add(np.array([0, 0, 0.3, 0]), now) == ""
    assert meter.add(np.array([0, 0, 0.35, 0]), now).startswith("j went 0.05")


def test_a_rate_goes_on_while_nothing_is_said() -> None:
    meter = travel(Limits.from_overrides({"linear": {"travel_1s": 0.1}}))
    assert meter.add(np.array([0.2, 0, 0, 0]), 0) == ""
    assert meter.add(np.array([0.0, 0, 0, 0]), 501 * MS).startswith("x, y went 0.1002 within 1 s")


def test_a_position_that_is_not_known_is_no_way_nor_is_a_new_start() -> None:
    meter = travel()
    assert meter.add(np.array([0, 0, np.nan, 5.0]), 0) == ""
    assert meter.add(np.array([0, 0, 3.0, 5.0]), 10 * MS) == ""
    meter.settle()
    assert meter.add(np.array([0, 0, -3.0, 1.0]), 20 * MS) == ""
    assert meter.add(np.array([0, 0, -3.0, 1.06]), 30 * MS).startswith("k went 0.06")


def test_a_new_start_does_not_forget_the_way() -> None:
    meter = travel()
    meter.add(np.array([0, 0, 0.0, 0]), 0)
    assert meter.add(np.array([0, 0, 0.04, 0]), 10 * MS) == ""
    meter.settle()
    assert meter.add(np.array([0, 0, 0.0, 0]), 20 * MS) == ""
    assert meter.add(np.array([0, 0, 0.012, 0]), 30 * MS).startswith("j went 0.052")


def test_a_clock_that_goes_back_gives_no_way_back() -> None:
    meter = travel()
    said = ""
    for k in range(30):
        said = said or meter.add(np.array([0.25, 0, 0, 0]), (k // 2) * 10 * MS + (k % 2) * 20 * MS)
    assert said == ""
    meter.add(np.array([0, 0, 0.0, 0]), -500 * MS)
    assert meter.add(np.array([0, 0, 0.06, 0]), -500 * MS).startswith("j went 0.06")


def test_a_sustained_speed_beyond_what_the_builder_allows_latches() -> None:
    rig = GuardRig(limits=Limits.from_overrides({"linear": {"travel_1s": 0.1}}))
    rig.arm()
    rig.run(0.3, [0.2, 0, 0, 0, 0, 0])
    assert rig.guard.state is State.ARMED
    rig.run(1.0, [0.2, 0, 0, 0, 0, 0])
    assert rig.guard.state is State.LATCHED
    assert rig.guard.latched_by.startswith("travel: x, y, z went 0.1")
    rig.run(1.0)
    assert not rig.commands()[-1].any()


def reference(commands: np.ndarray, times_ns: np.ndarray, span_ns: int) -> np.ndarray:
    """Way of joint j within the last ``span_ns`` at each command, in a straight line between two of them."""
    way = np.concatenate([[0.0], np.abs(np.diff(commands)).cumsum()])
    return way - np.interp(times_ns - span_ns, times_ns, way)


@pytest.mark.parametrize("seed", range(20))
def test_irregular_ticks_add_up_as_a_reference_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    longest = 25 * MS if seed % 2 else 250 * MS
    times_ns = np.concatenate([[0], rng.integers(6 * MS, longest, 300).cumsum()])
    commands = rng.normal(0, 0.002, 301).cumsum()
    expected = reference(commands, times_ns, 100 * MS)
    # Between two values that the way takes, so that rounding decides nothing.
    ordered = np.sort(expected)
    limit = float(ordered[-5:-3].mean())
    meter = travel(Limits.from_overrides({"joint": {"travel_100ms": limit}}))
    told = [bool(meter.add(np.array([0, 0, j, 0.0]), int(t))) for j, t in zip(commands, times_ns, strict=True)]
    assert told == (expected > limit).tolist()


def test_of_two_excesses_the_worse_in_proportion_is_told() -> None:
    # 0.051 rad and 0.0255 m within 100 ms are allowed: 0.06 rad is 1.2 times, 0.036 m is 1.4 times as much.
    meter = travel()
    meter.add(np.array([0.0, 0.0, 0.0, 0.0]), 0)
    meter.add(np.array([0.72, 0.0, 0.0, 0.0]), 10 * MS)
    assert meter.add(np.array([0.0, 0.0, 0.06, 0.0]), 60 * MS).startswith("x, y went 0.036 within 0.1 s")


def test_ticks_that_come_too_often_take_no_more_memory() -> None:
    meter = travel()
    for k in range(20_000):
        meter.add(np.zeros(4), k * MS // 10)
    # Two for every nominal period of 10 ms, within 0.1 s and within 1 s.
    assert [len(window._past) <= size for window, size in zip(meter._windows, (22, 202), strict=True)] == [True, True]
