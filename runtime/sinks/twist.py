"""geometry_msgs/Twist: linear velocity in m/s and angular velocity in rad/s (REP 103). A fault ramps to 0."""

from __future__ import annotations

from geometry_msgs.msg import Twist

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.contracts import Command
from jetvla.runtime.robot_config import TwistOutput
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.sinks.fit import twist_axes
from jetvla.runtime.sinks.publisher import CommandPublisher


class TwistSink(CommandPublisher):
    """Publishes the action's linear and angular dimensions."""

    def __init__(self, config: TwistOutput, spec: ActionSpec, session: RosSession) -> None:
        self._axes = twist_axes(config, spec)
        self.dimensions = self._axes.dimensions
        super().__init__(Twist, "geometry_msgs/msg/Twist", config.topic, session)

    def publish(self, command: Command) -> None:
        message = Twist()
        self._axes.fill(message, command.values)
        self.send(message)


def open_sink(config: TwistOutput, spec: ActionSpec, session: RosSession | None, period_s: float) -> TwistSink:
    """See :func:`jetvla.runtime.sinks.open_sink`."""
    assert session is not None  # Config.uses_ros opens one for every twist output
    return TwistSink(config, spec, session)
