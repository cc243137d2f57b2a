"""A ROS 2 image topic. This module reads messages and needs no rclpy; the subscription is the node's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.cameras.base import CameraTimeout, ImageTopics
from jetvla.runtime.cameras.latest import Latest
from jetvla.runtime.clock import NS_PER_S, Clock
from jetvla.runtime.contracts import Frame
from jetvla.runtime.errors import CameraError, ConfigError, MissingDependency
from jetvla.runtime.stamps import StampConverter, StampError

if TYPE_CHECKING:
    from jetvla.runtime.config import RosCamera as Config

# Bytes per pixel, and OpenCV's name of the conversion to RGB.
ENCODINGS: dict[str, tuple[int, str | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, "COLOR_BGR2RGB"),
    "rgba8": (4, "COLOR_RGBA2RGB"),
    "bgra8": (4, "COLOR_BGRA2RGB"),
    "mono8": (1, "COLOR_GRAY2RGB"),
}


def open_camera(name: str, config: Config, clock: Clock, topics: ImageTopics | None) -> RosCamera:
    """Subscribe to ``config.topic`` on the process's node."""
    if topics is None:
        raise ConfigError(f"camera {name!r} is of kind 'ros', and ROS 2 is not running in this process")
    return RosCamera(name, config, clock, topics, StampConverter(clock))


class RosCamera:
    """Keeps the newest message and decodes it when it is asked for.

    A message with an unusable stamp is dropped; the time-out says how many were, and why.
    """

    def __init__(self, name: str, config: Config, clock: Clock, topics: ImageTopics, stamps: StampConverter) -> None:
        self.name = name
        self._config, self._clock, self._stamps = config, clock, stamps
        self._decode = decode_compressed if config.compressed else decode_raw
        self._where = f"camera {name!r} ({config.topic})"
        self._latest: Latest[tuple[int, int, Any]] = Latest()
        self._seq = 0
        self._dropped, self._why = 0, ""
        self._unsubscribe = topics.subscribe_images(config.topic, config.compressed, self._receive)

    def read(self, timeout_s: float) -> Frame:
        """See :class:`~jetvla.runtime.cameras.base.Camera`."""
        taken = self._latest.take(timeout_s)
        if taken is None:
            dropped = f"; {self._dropped} dropped, the last because {self._why}" if self._dropped else ""
            raise CameraTimeout(f"{self._where}: no frame within {timeout_s:.3f} s{dropped}")
        seq, t_ns, message = taken
        try:
            return Frame(self.name, self._decode(message), seq, t_ns)
        except ValueError as error:
            raise CameraError(f"{self._where}: {error}") from error

    def close(self) -> None:
        self._unsubscribe()

    def _receive(self, message: Any) -> None:
        try:
            t_ns = self._capture_time(message.header.stamp)
        except StampError as error:
            self._dropped, self._why = self._dropped + 1, str(error)
            return
        self._latest.put((self._seq, t_ns, message))
        self._seq += 1

    def _capture_time(self, stamp: Any) -> int:
        if self._config.stamp == "arrival":
            return self._clock.now_ns()
        return self._stamps.to_monotonic(stamp.sec * NS_PER_S + stamp.nanosec)


def decode_raw(message: Any) -> NDArray[np.uint8]:
    """Pixels of a sensor_msgs/Image as uint8 [H, W, 3] RGB; ValueError names what is wrong with it."""
    if message.encoding not in ENCODINGS:
        raise ValueError(f"encoding {message.encoding!r} is not supported; publish one of {', '.join(ENCODINGS)}")
    channels, conversion = ENCODINGS[message.encoding]
    height, width, step = message.height, message.width, message.step
    if step < width * channels or len(message.data) < height * step or not height * width:
        raise ValueError(
            f"a {message.encoding} image of {width} x {height} with step {step} does not fit its "
            f"{len(message.data)} bytes; check the publisher"
        )
    pixels: NDArray[np.uint8] = np.ndarray(
        (height, width, channels), np.uint8, memoryview(message.data), strides=(step, channels, 1)
    )
    return pixels if conversion is None else _convert(pixels, conversion)


def decode_compressed(message: Any) -> NDArray[np.uint8]:
    """Pixels of a sensor_msgs/CompressedImage (JPEG, PNG) as uint8 [H, W, 3] RGB; else ValueError."""
    cv2 = _opencv()
    data = np.frombuffer(memoryview(message.data), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ValueError(f"{len(data)} bytes of format {message.format!r} cannot be decoded; publish JPEG or PNG")
    return _convert(image, "COLOR_BGR2RGB")


def _convert(pixels: NDArray[np.uint8], conversion: str) -> NDArray[np.uint8]:
    cv2 = _opencv()
    return np.asarray(cv2.cvtColor(pixels, getattr(cv2, conversion)), np.uint8)


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingDependency("OpenCV", "a ros camera", "pip install opencv-python-headless") from error
    return cv2
