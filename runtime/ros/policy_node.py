"""The policy's ROS 2 face: images, joint states and instructions in, nothing out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from jetvla.runtime.config import Config
from jetvla.runtime.ros.qos import IMAGE_QOS, SENSOR_QOS
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Spinner

POLICY_NODE = "jetvla_policy"


class PolicyNode:
    """One node, spun by its own thread, that all ROS cameras and the instruction share.

    Args:
        config: topics, namespace and domain.
        hear: called in the node's thread with every sentence.
        feel: called in the node's thread with every sensor_msgs/JointState of the configured topic; None without.

    Raises:
        MissingDependency: if rclpy is not installed.
    """

    def __init__(self, config: Config, hear: Callable[[str], None], feel: Callable[[Any], None] | None = None) -> None:
        self._session = RosSession(POLICY_NODE, config.ros.namespace, config.ros.domain_id)
        node = self._session.node
        node.create_subscription(String, config.instruction.topic, lambda message: hear(message.data), 10)
        if config.state is not None and feel is not None:
            node.create_subscription(JointState, config.state.topic, feel, SENSOR_QOS)
        self._spinner = Spinner(self._session)

    def subscribe_images(self, topic: str, compressed: bool, receive: Callable[[Any], None]) -> Callable[[], None]:
        """Call ``receive`` in the node's thread with every message of ``topic``; returns what ends that."""
        made: list[Any] = []
        node, kind = self._session.node, CompressedImage if compressed else Image
        self._spinner.change(lambda: made.append(node.create_subscription(kind, topic, receive, IMAGE_QOS)))
        return lambda: self._spinner.change(lambda: _destroy(node, made))

    def close(self) -> None:
        self._spinner.close()
        self._session.close()


def _destroy(node: Any, subscriptions: list[Any]) -> None:
    for subscription in subscriptions:
        node.destroy_subscription(subscription)
