"""Joint states by name: the newest of each joint, from whoever knows it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.clock import NS_PER_S, FakeClock
from jetvla.runtime.joint_states import JointStates
from jetvla.runtime.poses import Poses
from jetvla.runtime.stamps import HeaderTime, StampConverter

WALL_NS = 1_700_000_000 * NS_PER_S


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def header(t_ns: int, frame: str = "") -> Any:
    seconds, nanoseconds = divmod(t_ns, NS_PER_S)
    return SimpleNamespace(stamp=SimpleNamespace(sec=seconds, nanosec=nanoseconds), frame_id=frame)


def message(stamp_ns: int, **positions: float) -> Any:
    return SimpleNamespace(header=header(stamp_ns), name=list(positions), position=list(positions.values()))


def stamped(clock: FakeClock) -> HeaderTime:
    """The wall clock is ahead of the monotonic one by :data:`WALL_NS`."""
    return HeaderTime("header", clock, StampConverter(clock, lambda: clock.now_ns() + WALL_NS))


def test_joints_are_found_by_name_whatever_else_is_in_the_message(clock: FakeClock) -> None:
    states = JointStates(["wrist", "elbow"], stamped(clock))
    now_ns = clock.now_ns()
    states.receive(message(now_ns + WALL_NS, wheel=9.0, elbow=0.5, wrist=-0.25))
    positions, times = states.since(now_ns - 1)
    assert positions.tolist() == [-0.25, 0.5]
    assert times.tolist() == [now_ns, now_ns]


def test_each_publisher_may_know_some_of_them_and_each_has_its_age(clock: FakeClock) -> None:
    states = JointStates(["elbow", "finger"], stamped(clock))
    first_ns = clock.now_ns()
    states.receive(message(first_ns + WALL_NS, elbow=0.5))
    assert "joint 'finger' has not come yet" in states.missing(first_ns, first_ns)
    clock.advance(0.15)
    states.receive(message(clock.now_ns() + WALL_NS, finger=0.01))
    positions, times = states.since(first_ns)
    assert positions.tolist() == [0.5, 0.01]
    assert times.tolist() == [first_ns, clock.now_ns()]
    positions, _ = states.since(first_ns + 1)
    np.testing.assert_array_equal(positions, [np.nan, 0.01])
    assert "joint 'elbow' is 0.150 s old" in states.missing(clock.now_ns(), first_ns + 1)
    assert states.missing(clock.now_ns(), first_ns) == ""


def test_the_time_is_that_of_the_measurement_and_an_older_one_changes_nothing(clock: FakeClock) -> None:
    states = JointStates(["elbow"], stamped(clock))
    now_ns = clock.now_ns()
    states.receive(message(now_ns - 80_000_000 + WALL_NS, elbow=0.5))
    states.receive(message(now_ns - 90_000_000 + WALL_NS, elbow=0.1))
    positions, times = states.since(now_ns - 80_000_000)
    assert (positions.tolist(), times.tolist()) == ([0.5], [now_ns - 80_000_000])
    assert np.isnan(states.since(now_ns - 79_000_000)[0])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (message(0, elbow=0.5), "header stamp is zero"),
        (message(WALL_NS - 5 * NS_PER_S, elbow=0.5), "an age of 6.000 s"),
        (
            SimpleNamespace(header=header(WALL_NS + NS_PER_S), name=["elbow"], position=[]),
            "1 joints and has 0 positions",
        ),
    ],
)
def test_a_message_that_cannot_be_used_is_not_and_the_reason_is_kept(clock: FakeClock, wrong: Any, why: str) -> None:
    states = JointStates(["elbow"], stamped(clock))
    states.receive(wrong)
    assert why in states.why
    assert why in states.missing(clock.now_ns(), clock.now_ns())
    assert states.count == 0
    states.receive(message(clock.now_ns() + WALL_NS, elbow=0.5))
    assert states.why == ""
    assert states.count == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_position_that_is_not_finite_is_none(clock: FakeClock, value: float) -> None:
    states = JointStates(["elbow"], stamped(clock))
    states.receive(message(clock.now_ns() + WALL_NS, elbow=value))
    assert np.isnan(states.since(0)[0])


def test_by_arrival_any_stamp_will_do(clock: FakeClock) -> None:
    states = JointStates(["elbow"], HeaderTime("arrival", clock))
    states.receive(message(0, elbow=0.5))
    assert states.since(clock.now_ns())[0].tolist() == [0.5]


def pose(stamp_ns: int, x: float, frame: str = "map") -> Any:
    position = SimpleNamespace(x=x, y=2.0, z=3.0)
    return SimpleNamespace(header=header(stamp_ns, frame), pose=SimpleNamespace(position=position))


def test_a_pose_is_taken_in_its_frame_alone_and_the_newest_counts(clock: FakeClock) -> None:
    poses = Poses("map", stamped(clock))
    now_ns = clock.now_ns()
    poses.receive(pose(now_ns + WALL_NS, 9.0, "odom"))
    assert poses.newest is None
    assert "frame 'odom', not 'map'" in poses.why
    poses.receive(pose(now_ns + WALL_NS, np.nan))
    assert "not finite" in poses.why
    poses.receive(pose(0, 1.0))
    assert "stamp is zero" in poses.why
    poses.receive(pose(now_ns + WALL_NS, 1.0))
    poses.receive(pose(now_ns - 1000 + WALL_NS, 7.0))
    assert poses.newest is not None
    assert poses.newest.position.tolist() == [1.0, 2.0, 3.0]
    assert poses.newest.t_ns == now_ns
    assert poses.why == ""
