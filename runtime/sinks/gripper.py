"""std_msgs/Float64 for one gripper: the action dimension that a Twist cannot carry. A fault holds."""

from __future__ import annotations

from std_msgs.msg import Float64

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.contracts import Command
from jetvla.runtime.robot_config import GripperOutput
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.sinks.fit import gripper_index
from jetvla.runtime.sinks.publisher import CommandPublisher


class GripperSink(CommandPublisher):
    """Publishes one absolute gripper dimension in its own unit."""

    def __init__(self, config: GripperOutput, spec: ActionSpec, session: RosSession) -> None:
        self._index = gripper_index(config, spec)
        self.dimensions = (config.dimension,)
        super().__init__(Float64, "std_msgs/msg/Float64", config.topic, session)

    def publish(self, command: Command) -> None:
        self.send(Float64(data=float(command.values[self._index])))


def open_sink(config: GripperOutput, spec: ActionSpec, session: RosSession | None, period_s: float) -> GripperSink:
    """See :func:`jetvla.runtime.sinks.open_sink`."""
    assert session is not None  # Config.uses_ros opens one for every output on ROS 2
    return GripperSink(config, spec, session)
