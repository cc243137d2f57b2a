"""Feedback and the distance to it."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.following import Feedback, Following
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import GuardRig

MS = 1_000_000
NOW = 10_000 * MS


def dimension(name: str, quantity: str, unit: str, semantics: str = "absolute", **more: object) -> ActionDimension:
    return ActionDimension.model_validate(
        {"name": name, "quantity": quantity, "unit": unit, "semantics": semantics, **more}
    )


SPEC = ActionSpec(
    dimensions=(
        dimension("v", "linear", "m/s", "velocity", frame="base"),
        dimension("j", "joint", "rad"),
        dimension("rail", "joint", "m"),
        *(dimension(n, "linear", "m", frame="base") for n in ("px", "py")),
        dimension("other", "linear", "m", frame="wrist"),
        dimension("hand", "gripper", "1"),
    )
)
JOINTS = ActionSpec(dimensions=(dimension("a", "joint", "rad"), dimension("b", "joint", "rad")))


def off(**by: float) -> str:
    """What is said of a robot that is as far from its command as that."""
    command = np.ones(len(SPEC))
    for name, distance in by.items():
        command[SPEC.index(name)] += distance
    return Following(SPEC, Limits()).problem(command, np.ones(len(SPEC)))


def test_distances_within_the_limits() -> None:
    assert off() == ""
    assert off(j=0.299, rail=-0.0499, px=0.03, py=-0.039, other=0.0499) == ""


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ({"j": -0.31}, "j: 0.31 rad from the measured position; the limit is 0.3 rad"),
        ({"rail": 0.051}, "rail: 0.051 m from the measured position; the limit is 0.05 m"),
        ({"px": 0.036, "py": -0.036}, "px, py: 0.0509 m from the measured position; the limit is 0.05 m"),
        ({"j": 0.4, "rail": 0.1}, "rail: 0.1 m"),
        ({"j": np.inf}, "j: inf rad"),
    ],
)
def test_the_worst_distance_beyond_its_limit_is_named(by: dict[str, float], said: str) -> None:
    assert off(**by).startswith(said)


def test_rates_and_grippers_are_no_positions_to_be_compared() -> None:
    assert off(v=9.0, hand=0.9) == ""
    assert Following(ActionSpec(dimensions=SPEC.dimensions[:1]), Limits()).problem(np.ones(1), np.zeros(1)) == ""


def test_what_is_not_measured_is_not_compared() -> None:
    measured = np.full(len(SPEC), np.nan)
    following = Following(SPEC, Limits())
    assert following.problem(np.full(len(SPEC), 9.0), measured) == ""
    measured[SPEC.index("px")] = 8.9
    assert following.problem(np.full(len(SPEC), 9.0), measured).startswith("px, py: 0.1 m")


def feedback(required: bool = False) -> Feedback:
    return Feedback(2, Limits(), required)


def test_feedback_is_none_before_it_comes_and_when_it_is_old() -> None:
    known = feedback()
    assert np.isnan(known.at(NOW)).all()
    assert known.stale(NOW) == ""
    known.take(np.array([1.0, np.nan]), NOW, NOW)
    assert known.at(NOW + 100 * MS)[0] == 1.0
    assert np.isnan(known.at(NOW + 100 * MS)[1])
    assert np.isnan(known.at(NOW + 100 * MS + 1)).all()
    assert known.stale(NOW + 120 * MS) == "the last feedback is 0.120 s old"


def test_what_cannot_be_feedback_is_ignored() -> None:
    known = feedback()
    known.take(np.array([1.0, 2.0]), NOW, NOW)
    for values, t_ns in ((np.ones(3), NOW), (np.array([5.0, 5.0]), NOW - 1), (np.array([5.0, 5.0]), NOW + 6 * MS)):
        known.take(values, t_ns, NOW)
        assert known.at(NOW).tolist() == [1.0, 2.0]
    known.take(np.array([3.0, np.inf]), NOW + 5 * MS, NOW)
    assert np.array_equal(known.at(NOW), [3.0, np.nan], equal_nan=True)


def test_only_configured_feedback_is_required() -> None:
    assert feedback().problem(NOW) == ""
    known = feedback(required=True)
    assert known.problem(NOW) == "no feedback has come yet"
    known.take(np.ones(2), NOW, NOW)
    assert known.problem(NOW + 100 * MS) == ""
    assert known.problem(NOW + 150 * MS) == "the last feedback is 0.150 s old"


@pytest.fixture
def rig() -> GuardRig:
    """Two joints, ready, with feedback configured."""
    rig = GuardRig(JOINTS, ChunkTiming(2, 0.1, 0.1), needs_feedback=True)
    rig.ready()
    return rig


def drive(rig: GuardRig, seconds: float, action: list[float], gain: float = 1.0) -> None:
    """A robot that does ``gain`` of what it is told, and says so at 50 Hz."""
    for _ in range(round(seconds / 0.02)):
        commands = rig.commands()
        rig.guard.on_feedback(gain * commands[-1] if len(commands) else np.zeros(2))
        rig.health()
        rig.chunk(action)
        for _ in range(2):
            rig.step()


def test_a_robot_that_follows_is_let_go_on(rig: GuardRig) -> None:
    rig.guard.on_feedback(np.zeros(2))
    assert rig.guard.arm() == ()
    drive(rig, 4.0, [1.0, -1.0], gain=0.9)
    assert rig.faults() == []
    assert rig.commands()[-1] == pytest.approx([1.0, -1.0], abs=1e-3)


def test_a_joint_that_is_held_fast_latches_and_stays_where_the_stop_ended(rig: GuardRig) -> None:
    rig.guard.on_feedback(np.zeros(2))
    assert rig.guard.arm() == ()
    drive(rig, 3.0, [1.0, 0.0], gain=0.0)
    assert rig.guard.state is State.LATCHED
    assert rig.faults()[0] == "following"
    assert "a: 0.30" in rig.guard.latched_by
    # 0.3 rad, and the stop from 0.5 rad/s.
    assert 0.3 < rig.commands()[-1][0] < 0.3 + 0.25 * 0.5 + 0.5 * 0.15
    assert (np.diff(rig.commands()[:, 0]) >= -1e-12).all()


def test_feedback_that_ends_stops_the_robot(rig: GuardRig) -> None:
    assert rig.guard.arm()[0] == "no_feedback: no feedback has come yet"
    rig.guard.on_feedback(np.zeros(2))
    assert rig.guard.arm() == ()
    drive(rig, 1.0, [1.0, 1.0])
    rig.run(0.1, [1.0, 1.0])
    assert rig.faults() == ["no_feedback"]
    assert rig.guard.state is State.STOPPING


def test_old_feedback_is_no_place_to_start_from() -> None:
    rig = GuardRig(JOINTS)
    rig.guard.on_feedback(np.zeros(2), rig.clock.now_ns() - 120 * MS)
    rig.ready()
    assert rig.guard.arm() == ("a, b: the position is not measured, the last feedback is 0.120 s old",)
    rig.guard.on_feedback(np.array([0.5, 0.25]), rig.clock.now_ns() - 90 * MS)
    assert rig.guard.arm() == ()
    assert rig.step().shaped.tolist() == [0.5, 0.25]


def test_shadow_may_be_anywhere(rig: GuardRig) -> None:
    for _ in range(100):
        rig.guard.on_feedback(np.zeros(2))
        rig.health()
        rig.chunk([1.0, 1.0])
        rig.step()
        rig.step()
    assert rig.results[-1].shaped[0] > 0.5
    rig.guard.on_feedback(np.zeros(2))
    assert rig.guard.arm() == ()
    assert rig.step().command.values == pytest.approx([0.0, 0.0], abs=1e-3)


def test_of_two_measurements_with_one_stamp_the_later_counts() -> None:
    feedback = Feedback(2, Limits(), True)
    feedback.take(np.array([1.0, 2.0]), NOW, NOW)
    feedback.take(np.array([3.0, 4.0]), NOW, NOW)
    assert feedback.at(NOW).tolist() == [3.0, 4.0]


def test_exactly_the_limit_is_allowed() -> None:
    limits = Limits(following_rad=0.25)
    assert Following(JOINTS, limits).problem(np.array([1.25, 1.0]), np.ones(2)) == ""
