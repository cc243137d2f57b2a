"""A ROS 2 camera that the test can break, and the pictures that it shows."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

TOPIC = "/camera/image_raw"
Mode = Literal["live", "silent", "frozen", "dark", "back"]
# How far each stamp lies before the last one when time goes back.
STEP_BACK_S = 0.01
# Levels of a covered sensor: its noise, from 0 to less than this.
DARK = 5


def pictures() -> Iterator[NDArray[np.uint8]]:
    """Pictures uint8 [48, 64, 3] without end: one scene under the noise of a sensor.

    The policy's weights are random. This scene makes it ask for a steady 0.26 m/s, and nearly the same in the dark,
    so that a dark camera is found by its darkness alone.
    """
    scene = cv2.resize(np.random.default_rng(21).integers(0, 256, (6, 8, 3), np.uint8), (64, 48))
    rng = np.random.default_rng(0)
    while True:
        noisy = scene.astype(np.int16) + rng.integers(-4, 5, scene.shape, np.int16)
        yield np.clip(noisy, 0, 255).astype(np.uint8)


class BreakableCamera:
    """Publishes on :data:`TOPIC` from a timer of ``node``, in whatever :attr:`mode` it is."""

    def __init__(self, node: Any, hz: float) -> None:
        from rclpy.clock import Clock, ClockType
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image

        self._node, self._message = node, Image
        self._pictures = pictures()
        self._publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
        self._mode: Mode = "live"
        self._picture = next(self._pictures)
        self._stamp_ns = self._last_ns = 0
        self._began: tuple[Mode, int] | None = None
        node.create_timer(1 / hz, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set(self, mode: Mode) -> int:
        """Go over to ``mode``; when its first picture was published, or for ``silent`` the last one before it."""
        if mode == "silent":
            self._mode = mode
            return self._last_ns
        self._began, self._mode = None, mode
        while (began := self._began) is None or began[0] != mode:
            time.sleep(0.001)
        return began[1]

    def _look(self) -> None:
        mode = self._mode
        if mode == "silent":
            return
        if mode != "frozen":
            self._picture = next(self._pictures)
        began_ns = self._last_ns = time.monotonic_ns()
        self._publish(self._picture % DARK if mode == "dark" else self._picture, mode == "back")
        if self._began is None or self._began[0] != mode:
            self._began = mode, began_ns

    def _publish(self, picture: NDArray[np.uint8], back: bool) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        self._stamp_ns = self._stamp_ns - round(STEP_BACK_S * 1e9) if back else now_ns
        message = self._message(encoding="rgb8", step=picture.shape[1] * 3)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(self._stamp_ns, 10**9)
        message.height, message.width = picture.shape[:2]
        message.data = array("B", picture.tobytes())
        self._publisher.publish(message)
