"""trajectory_msgs/JointTrajectory: absolute joints in rad or m (REP 103). A fault holds; it never sends 0 for rest."""

from __future__ import annotations

from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.contracts import Command
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.robot_config import JointTrajectoryOutput
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.sinks.publisher import CommandPublisher

# How far ahead the only point lies. A controller interpolates from where it is, so at one tick it would arrive, and
# halt, whenever the next message is a little late; beyond two it would go on without a guard (SAFETY).
TICKS_AHEAD = 2


class JointTrajectorySink(CommandPublisher):
    """Publishes one point, :data:`TICKS_AHEAD` ticks ahead, with positions alone: at its end the robot stands still.

    The header's stamp is zero, which means "from now": the controller's clock need not agree with ours, and the
    lifespan of 200 ms bounds how late that may be. When commands end the robot has at most two ticks left to go.
    """

    def __init__(self, config: JointTrajectoryOutput, spec: ActionSpec, session: RosSession, period_s: float) -> None:
        joints = _joints(config, spec)
        self.dimensions = tuple(joints)
        self._indices = [spec.index(name) for name in joints]
        self._names = list(joints.values())
        seconds, nanoseconds = divmod(seconds_to_ns(TICKS_AHEAD * period_s), NS_PER_S)
        self._ahead = Duration(sec=seconds, nanosec=nanoseconds)
        super().__init__(JointTrajectory, "trajectory_msgs/msg/JointTrajectory", config.topic, session)

    def publish(self, command: Command) -> None:
        point = JointTrajectoryPoint(positions=command.values[self._indices], time_from_start=self._ahead)
        self.send(JointTrajectory(joint_names=self._names, points=[point]))


def _joints(config: JointTrajectoryOutput, spec: ActionSpec) -> dict[str, str]:
    """Joint names by action dimension; ConfigError for one that is no absolute joint, or a name that is there twice."""
    absolute = [d.name for d in spec.dimensions if d.quantity == "joint" and d.semantics == "absolute"]
    joints = {name: name for name in absolute} if config.joints is None else dict(config.joints)
    if wrong := [name for name in joints if name not in absolute]:
        raise ConfigError(
            f"guard.outputs: {', '.join(map(repr, wrong))} is not an absolute joint of this bundle "
            f"({', '.join(absolute) or 'it has none'}); name some of these, or use an output of another kind"
        )
    if not joints:
        raise ConfigError("guard.outputs: this bundle has no absolute joint; use an output of another kind")
    targets = list(joints.values())
    if twice := sorted({joint for joint in targets if targets.count(joint) > 1}):
        raise ConfigError(f"guard.outputs: two action dimensions move {', '.join(twice)}; give each its own joint")
    return joints


def open_sink(
    config: JointTrajectoryOutput, spec: ActionSpec, session: RosSession | None, period_s: float
) -> JointTrajectorySink:
    """See :func:`jetvla.runtime.sinks.open_sink`."""
    assert session is not None  # Config.uses_ros opens one for every output on ROS 2
    return JointTrajectorySink(config, spec, session, period_s)
