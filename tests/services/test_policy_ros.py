"""The policy's ROS node on real ROS 2: images and sentences in."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")

from std_msgs.msg import String

from jetvla.runtime.cameras import Camera, CameraTimeout, open_camera
from jetvla.runtime.clock import NS_PER_S, MonotonicClock
from jetvla.runtime.config import Config, RosCamera, RosConfig
from jetvla.runtime.contracts import Frame
from jetvla.runtime.ros.policy_node import PolicyNode
from jetvla.runtime.ros.session import RosSession

# rclpy's own dependency lark imports it.
pytestmark = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]

PATIENCE_S = 60.0
PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "1")
    return os.getpid() % 100 + 1


@pytest.fixture
def spoken() -> list[str]:
    return []


@pytest.fixture
def node(domain: int, spoken: list[str]) -> Iterator[PolicyNode]:
    config = Config(bundle=Path("bundle"), cameras={"front": RosCamera(kind="ros")}, ros=RosConfig(domain_id=domain))
    node = PolicyNode(config, spoken.append)
    yield node
    node.close()


@pytest.fixture
def robot(domain: int) -> Iterator[RosSession]:
    with RosSession("robot", domain_id=domain) as session:
        yield session


def repeat(act: Callable[[], None], until: Callable[[], bool], robot: RosSession) -> None:
    """Discovery takes its time and best effort loses some, so act until it worked."""
    give_up = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < give_up, "nothing arrived over ROS 2"
        act()
        robot.spin_once(0.05)


def stamped(kind: type, robot: RosSession, **fields: object) -> object:
    message = kind(**fields)
    message.header.stamp = robot.node.get_clock().now().to_msg()
    return message


def next_frame(camera: Camera, act: Callable[[], None], robot: RosSession) -> Frame:
    got: list[Frame] = []

    def look() -> bool:
        try:
            got.append(camera.read(0.02))
        except CameraTimeout:
            return False
        return True

    repeat(act, look, robot)
    return got[0]


def test_an_image_arrives_with_its_capture_time(node: PolicyNode, robot: RosSession) -> None:
    from sensor_msgs.msg import Image

    clock = MonotonicClock()
    camera = open_camera("front", RosCamera(kind="ros"), clock, node)
    publisher = robot.node.create_publisher(Image, "/camera/image_raw", 1)
    data = array("B", PIXELS.tobytes())

    def publish() -> None:
        publisher.publish(stamped(Image, robot, height=48, width=64, encoding="rgb8", step=192, data=data))

    before_ns = clock.now_ns()
    frame = next_frame(camera, publish, robot)
    assert np.array_equal(frame.image, PIXELS)
    # The two clocks are read one after the other; a scheduler may come between.
    assert before_ns - NS_PER_S // 100 <= frame.t_ns <= clock.now_ns()
    camera.close()


def test_a_compressed_image_arrives(node: PolicyNode, robot: RosSession) -> None:
    import cv2
    from sensor_msgs.msg import CompressedImage

    camera = open_camera("front", RosCamera(kind="ros", topic="/jpeg", compressed=True), MonotonicClock(), node)
    publisher = robot.node.create_publisher(CompressedImage, "/jpeg", 1)
    data = array("B", cv2.imencode(".png", PIXELS[..., ::-1])[1].tobytes())
    frame = next_frame(
        camera, lambda: publisher.publish(stamped(CompressedImage, robot, format="png", data=data)), robot
    )
    assert np.array_equal(frame.image, PIXELS)


def test_a_sentence_arrives(node: PolicyNode, spoken: list[str], robot: RosSession) -> None:
    publisher = robot.node.create_publisher(String, "/voice_command", 10)
    repeat(lambda: publisher.publish(String(data="pick up the red block")), lambda: bool(spoken), robot)
    assert set(spoken) == {"pick up the red block"}


def test_a_closed_camera_no_longer_subscribes(node: PolicyNode, robot: RosSession) -> None:
    camera = open_camera("front", RosCamera(kind="ros"), MonotonicClock(), node)
    repeat(lambda: None, lambda: robot.node.count_subscribers("/camera/image_raw") == 1, robot)
    camera.close()
    repeat(lambda: None, lambda: robot.node.count_subscribers("/camera/image_raw") == 0, robot)
