"""Request to command, with the checker between."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.motion import Motion
from jetvla.runtime.guard.shaper import Shaper

P = 0.01
SPEC = ActionSpec(
    dimensions=(
        ActionDimension(name="x", quantity="linear", unit="m/s", semantics="velocity", frame="base"),
        ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute"),
        ActionDimension(name="g", quantity="gripper", unit="1", semantics="absolute"),
    )
)


@pytest.fixture
def motion() -> Motion:
    return Motion(SPEC, Limits(), 0.1, P)


def test_unknown_positions_wait_for_the_first_target(motion: Motion) -> None:
    assert not motion.known
    assert motion.advance(None, P) == ""
    assert not motion.known
    assert motion.advance(np.array([0.1, 1.0, 0.3]), P) == ""
    assert motion.known
    assert motion.values[1:].tolist() == [1.0, 0.3]


def test_measured_positions_come_first_then_published_ones(motion: Motion) -> None:
    motion.measured(np.array([9.0, 0.5, np.nan]))
    assert np.array_equal(motion.start, [0.0, 0.5, np.nan], equal_nan=True)
    motion.settle()
    motion.advance(np.array([0.0, 0.5, 0.8]), P)
    motion.published()
    motion.measured(np.array([np.inf, np.nan, np.nan]))
    assert motion.start.tolist() == [0.0, 0.5, 0.8]
    motion.measured(np.array([1.0, 0.7, 0.1]))
    assert motion.start.tolist() == [0.0, 0.7, 0.1]


def test_what_was_only_shadow_is_not_remembered(motion: Motion) -> None:
    motion.advance(np.array([0.1, 1.0, 0.3]), P)
    motion.settle()
    assert not motion.known


class WildShaper(Shaper):
    """Jumps."""

    jump = 0.2

    def advance(self, dt_s: float, target: Vector | None) -> Vector:
        shaped = super().advance(dt_s, target)
        shaped[0] += self.jump
        return shaped


@pytest.fixture
def wild(monkeypatch: pytest.MonkeyPatch) -> Motion:
    monkeypatch.setattr("jetvla.runtime.guard.motion.Shaper", WildShaper)
    motion = Motion(SPEC, Limits(), 0.1, P)
    motion.measured(np.array([0.0, 0.5, 0.5]))
    motion.settle()
    return motion


def test_an_illegal_command_never_gets_out(wild: Motion) -> None:
    violation = wild.advance(np.array([0.1, 0.5, 0.5]), P)
    assert violation.startswith("acceleration of x is 20")
    assert wild.blocked
    assert wild.values.tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("jump", [np.nan, np.inf])
def test_not_a_number_never_gets_out(wild: Motion, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    monkeypatch.setattr(WildShaper, "jump", jump)
    assert "not finite" in wild.advance(np.array([0.1, 0.5, 0.5]), P)
    assert wild.values.tolist() == [0.0, 0.5, 0.5]


def test_after_a_violation_the_brake_stops_the_robot(wild: Motion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WildShaper, "jump", 0.0)
    for _ in range(80):
        assert wild.advance(np.array([0.2, 0.6, 0.5]), P) == ""
    before = wild.values
    monkeypatch.setattr(WildShaper, "jump", 0.2)
    assert wild.advance(np.array([0.2, 0.6, 0.5]), P) != ""
    assert wild.values.tolist() == pytest.approx([before[0] - 0.01, before[1], before[2]])
    assert not wild.at_rest
    for _ in range(20):
        assert wild.advance(np.array([0.2, 0.6, 0.5]), P) == ""
    assert wild.at_rest
    assert wild.values.tolist() == [0.0, before[1], before[2]]


def test_settling_gives_the_command_back(wild: Motion, monkeypatch: pytest.MonkeyPatch) -> None:
    wild.advance(np.array([0.1, 0.5, 0.5]), P)
    monkeypatch.setattr(WildShaper, "jump", 0.0)
    wild.settle()
    assert not wild.blocked
    assert wild.advance(np.array([0.1, 0.5, 0.5]), P) == ""


def test_a_position_that_is_known_starts_there_whatever_an_unknown_gripper_does() -> None:
    joint = ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute")
    gripper = ActionDimension(name="g", quantity="gripper", unit="1", semantics="absolute")
    motion = Motion(ActionSpec(dimensions=(joint, gripper)), Limits(), 0.1, 0.01)
    motion.measured(np.array([0.2, np.nan]))
    motion.settle()
    assert not motion.known
    assert motion.advance(np.array([1.0, 0.8]), 0.01) == ""
    assert motion.values[0] == pytest.approx(0.2, abs=1e-3)
    assert motion.values[1] == pytest.approx(0.8, abs=1e-3)
