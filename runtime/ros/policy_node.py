"""The policy's ROS 2 face: images and instructions in, nothing out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from jetvla.runtime.config import Config
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Spinner

POLICY_NODE = "jetvla_policy"

# Sensor data, but only the newest: a reader that asked for more than best effort would not match a camera.
IMAGE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class PolicyNode:
    """One node, spun by its own thread, that all ROS cameras and the instruction share.

    Args:
        config: topics, namespace and domain.
        hear: called in the node's thread with every sentence.

    Raises:
        MissingDependency: if rclpy is not installed.
    """

    def __init__(self, config: Config, hear: Callable[[str], None]) -> None:
        self._session = RosSession(POLICY_NODE, config.ros.namespace, config.ros.domain_id)
        self._session.node.create_subscription(String, config.instruction.topic, lambda message: hear(message.data), 10)
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
