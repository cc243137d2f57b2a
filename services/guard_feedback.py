"""Where the robot is: from the configured topic to the guard's dimensions."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.core import Guard
from jetvla.runtime.joint_states import JointStates
from jetvla.runtime.poses import Pose, Poses
from jetvla.runtime.robot_config import JointFeedback, PoseFeedback
from jetvla.runtime.stamps import HeaderTime


class Feedback(Protocol):
    """Measurements of the robot. ``receive`` runs in the node's thread, ``give`` in the guard's.

    Attributes:
        needed: it measures dimensions of the action, which must not move without.
    """

    @property
    def needed(self) -> bool: ...

    def receive(self, message: Any) -> None:
        """Take in one message."""

    def give(self, guard: Guard) -> None:
        """Tell ``guard`` what is new."""

    def why(self) -> str:
        """What was wrong with the last message; empty if nothing was."""


def open_feedback(config: Config, spec: ActionSpec, clock: Clock) -> Feedback | None:
    """The configured feedback; None without.

    Raises:
        ConfigError: if it names what the action has not, or measures nothing of it.
    """
    feedback, box = config.guard.feedback, config.limits.workspace
    if box is not None and not (isinstance(feedback, PoseFeedback) and feedback.frame == box.frame):
        raise ConfigError(
            "guard.limits.workspace needs to know where the robot is: set guard.feedback to kind: pose, "
            f"frame: {box.frame}"
        )
    if isinstance(feedback, JointFeedback):
        return MeasuredJoints(feedback, spec, clock, config.limits.feedback_age_s)
    if isinstance(feedback, PoseFeedback):
        return MeasuredPose(feedback, spec, clock)
    return None


class MeasuredJoints:
    """Absolute joints and grippers, by name, from sensor_msgs/JointState.

    Every joint must be measured, and every dimension that the configuration names; a gripper may be without a sensor.
    What lacks one of them is no feedback, for another publisher's joints say nothing of an arm whose driver died.
    """

    def __init__(self, config: JointFeedback, spec: ActionSpec, clock: Clock, age_s: float) -> None:
        measurable = [d.name for d in spec.dimensions if _measurable(d)]
        if wrong := [name for name in config.joints if name not in measurable]:
            raise ConfigError(
                f"guard.feedback.joints: {', '.join(wrong)} is no absolute dimension in rad or m of this bundle "
                f"({', '.join(measurable) or 'it has none'})"
            )
        if not measurable:
            raise ConfigError(
                "guard.feedback: this bundle has no absolute joint, so joint states say nothing of its actions; "
                "remove it, or use kind: pose"
            )
        self._states = JointStates([config.joints.get(n, n) for n in measurable], HeaderTime(config.stamp, clock))
        self._index = [spec.index(name) for name in measurable]
        must = [d.quantity == "joint" or d.name in config.joints for d in spec.dimensions if _measurable(d)]
        self._must = np.array(must) if any(must) else np.ones(len(must), bool)
        self._size, self._clock, self._age_ns = len(spec), clock, seconds_to_ns(age_s)
        self._given, self._lacks = 0, ""
        self.needed = True

    def receive(self, message: Any) -> None:
        self._states.receive(message)

    def give(self, guard: Guard) -> None:
        count = self._states.count
        if count == self._given:
            return
        self._given = count
        positions, times = self._states.since(self._clock.now_ns() - self._age_ns)
        lacking = self._must & np.isnan(positions)
        self._lacks = ", ".join(np.array(self._states.joints)[lacking].tolist())
        if self._lacks:
            return
        values: NDArray[np.float64] = np.full(self._size, np.nan)
        values[self._index] = positions
        guard.on_feedback(values, int(times[self._must].min()))

    def why(self) -> str:
        return self._states.why or (self._lacks and f"the positions that come lack {self._lacks}")


class MeasuredPose:
    """The position of what the policy moves, from geometry_msgs/PoseStamped."""

    def __init__(self, config: PoseFeedback, spec: ActionSpec, clock: Clock) -> None:
        self._poses = Poses(config.frame, HeaderTime(config.stamp, clock))
        self._given: Pose | None = None
        self._size = len(spec)
        positions = {d.name: i for i, d in enumerate(spec.dimensions) if _is_position(d, config.frame)}
        self._rows = [row for row, name in enumerate(config.axes) if name in positions]
        self._index = [positions[name] for name in config.axes if name in positions]
        self.needed = bool(self._index)

    def receive(self, message: Any) -> None:
        self._poses.receive(message)

    def give(self, guard: Guard) -> None:
        pose = self._poses.newest
        if pose is None or pose is self._given:
            return
        guard.on_pose(pose.position, pose.t_ns)
        if self.needed:
            values: NDArray[np.float64] = np.full(self._size, np.nan)
            values[self._index] = pose.position[self._rows]
            guard.on_feedback(values, pose.t_ns)
        self._given = pose

    def why(self) -> str:
        return self._poses.why


def _is_position(dimension: ActionDimension, frame: str) -> bool:
    return dimension.quantity == "linear" and dimension.semantics == "absolute" and dimension.frame == frame


def _measurable(dimension: ActionDimension) -> bool:
    """A joint state is in rad or m, so it says nothing of a gripper between 0 and 1."""
    joint = dimension.quantity in ("joint", "gripper")
    return joint and dimension.semantics == "absolute" and dimension.unit != "1"
