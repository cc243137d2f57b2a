"""geometry_msgs/TwistStamped, as ros2_controllers and Nav2 take it from Jazzy on. A fault ramps to 0."""

from __future__ import annotations

from geometry_msgs.msg import TwistStamped

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.contracts import Command
from jetvla.runtime.robot_config import TwistStampedOutput
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.sinks.fit import only_frame
from jetvla.runtime.sinks.publisher import CommandPublisher
from jetvla.runtime.sinks.twist_axes import TwistAxes


class TwistStampedSink(CommandPublisher):
    """Publishes linear and angular dimensions; the header has the action's frame and the time of publication.

    A controller that compares the stamp with its own clock stops for commands that were under way too long.
    """

    def __init__(self, config: TwistStampedOutput, spec: ActionSpec, session: RosSession) -> None:
        self._axes = TwistAxes(config, spec)
        self._frame = only_frame(self._axes)
        self.dimensions = self._axes.dimensions
        super().__init__(TwistStamped, "geometry_msgs/msg/TwistStamped", config.topic, session)

    def publish(self, command: Command) -> None:
        message = TwistStamped()
        message.header.frame_id = self._frame
        message.header.stamp = self.now()
        self._axes.fill(message.twist, command.values)
        self.send(message)


def open_sink(
    config: TwistStampedOutput, spec: ActionSpec, session: RosSession | None, period_s: float
) -> TwistStampedSink:
    """See :func:`jetvla.runtime.sinks.open_sink`."""
    assert session is not None  # Config.uses_ros opens one for every twist output
    return TwistStampedSink(config, spec, session)
