"""A command topic of the guard: QoS, liveliness and peers are the same for every message type."""

from __future__ import annotations

from typing import Any

from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.sinks.peers import COMMAND_QOS, peer_problems


class CommandPublisher:
    """Publishes messages of one type on one topic; sinks of ROS 2 build on it.

    Args:
        message_type: class of the messages.
        type_name: its name on the graph, such as ``geometry_msgs/msg/Twist``.
        topic: where to.
    """

    def __init__(self, message_type: type[Any], type_name: str, topic: str, session: RosSession) -> None:
        self._node, self._type_name = session.node, type_name
        self._publisher = self._node.create_publisher(message_type, topic, COMMAND_QOS)

    def send(self, message: Any) -> None:
        self._publisher.publish(message)

    def now(self) -> Any:
        """The node's ROS time, for a header's stamp."""
        return self._node.get_clock().now().to_msg()

    def stay_alive(self) -> None:
        self._publisher.assert_liveliness()

    def peer_problems(self) -> tuple[str, ...]:
        return peer_problems(self._node, self._publisher, self._type_name)

    def close(self) -> None:
        self._node.destroy_publisher(self._publisher)
