"""Which joint states tell where the robot is. No ROS 2: messages are handed over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.clock import FakeClock
from jetvla.runtime.robot_config import JointFeedback
from jetvla.services.guard_feedback import MeasuredJoints


def dimension(name: str, quantity: str, unit: str) -> ActionDimension:
    return ActionDimension.model_validate({"name": name, "quantity": quantity, "unit": unit, "semantics": "absolute"})


ARM = dimension("elbow", "joint", "rad"), dimension("lift", "joint", "m"), dimension("claw", "gripper", "m")


class Told:
    """Keeps what a guard would be told."""

    def __init__(self) -> None:
        self.values: list[list[float]] = []
        self.times: list[int] = []

    def on_feedback(self, values: Any, t_ns: int) -> None:
        self.values.append(values.tolist())
        self.times.append(t_ns)


class Robot:
    """Feedback by arrival, and who gives it."""

    def __init__(self, *dimensions: ActionDimension, **joints: str) -> None:
        self.clock, self.told = FakeClock(), Told()
        config = JointFeedback(kind="joint_states", joints=joints, stamp="arrival")
        self.feedback = MeasuredJoints(config, ActionSpec(dimensions=dimensions), self.clock, 0.1)

    def says(self, **positions: float) -> list[list[float]]:
        """What the guard has been told once this message has come."""
        self.feedback.receive(SimpleNamespace(header=None, name=list(positions), position=list(positions.values())))
        self.feedback.give(self.told)  # type: ignore[arg-type]
        return self.told.values


def test_a_joint_whose_driver_died_takes_the_feedback_with_it() -> None:
    robot = Robot(*ARM)
    began_ns = robot.clock.now_ns()
    assert robot.says(elbow=0.5, lift=0.2, claw=0.01) == [[0.5, 0.2, 0.01]]
    robot.clock.advance(0.06)
    assert len(robot.says(claw=0.02)) == 2
    assert robot.told.times == [began_ns, began_ns], "as old as the oldest joint, however new the gripper is"
    robot.clock.advance(0.06)
    for _ in range(5):
        assert len(robot.says(claw=0.03)) == 2
    assert robot.feedback.why() == "the positions that come lack elbow, lift"
    robot.says(elbow=0.6)
    assert robot.feedback.why() == "the positions that come lack lift"
    assert robot.says(lift=0.3)[-1] == [0.6, 0.3, 0.03]
    assert robot.feedback.why() == ""


def test_a_gripper_without_a_sensor_is_not_waited_for() -> None:
    robot = Robot(*ARM)
    np.testing.assert_array_equal(robot.says(elbow=0.5, lift=0.2), [[0.5, 0.2, np.nan]])


@pytest.mark.parametrize("robot", [Robot(*ARM, claw="finger"), Robot(ARM[2])], ids=["named", "alone"])
def test_a_gripper_that_is_named_or_alone_is_waited_for(robot: Robot) -> None:
    assert robot.says(elbow=0.5, lift=0.2) == []
    assert robot.says(claw=0.01, finger=0.02) != []
