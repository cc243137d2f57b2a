"""trajectory_msgs/JointTrajectory: absolute joints in rad or m (REP 103). A fault holds; it never sends 0 for rest."""

from __future__ import annotations

from builtin_interfaces.msg import Duration
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.contracts import Command
from jetvla.runtime.robot_config import JointTrajectoryOutput
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.sinks.fit import joints
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
        chosen = joints(config, spec)
        self.dimensions = tuple(chosen)
        self._indices = [spec.index(name) for name in chosen]
        self._names = list(chosen.values())
        seconds, nanoseconds = divmod(seconds_to_ns(TICKS_AHEAD * period_s), NS_PER_S)
        self._ahead = Duration(sec=seconds, nanosec=nanoseconds)
        super().__init__(JointTrajectory, "trajectory_msgs/msg/JointTrajectory", config.topic, session)

    def publish(self, command: Command) -> None:
        point = JointTrajectoryPoint(positions=command.values[self._indices], time_from_start=self._ahead)
        self.send(JointTrajectory(joint_names=self._names, points=[point]))


def open_sink(
    config: JointTrajectoryOutput, spec: ActionSpec, session: RosSession | None, period_s: float
) -> JointTrajectorySink:
    """See :func:`jetvla.runtime.sinks.open_sink`."""
    assert session is not None  # Config.uses_ros opens one for every output on ROS 2
    return JointTrajectorySink(config, spec, session, period_s)
