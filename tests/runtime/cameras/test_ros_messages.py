"""Image messages become RGB frames with capture times; no rclpy needed."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.runtime.cameras import CameraTimeout, open_camera
from jetvla.runtime.cameras.ros import ENCODINGS, RosCamera, decode_raw
from jetvla.runtime.clock import NS_PER_S, FakeClock
from jetvla.runtime.config import RosCamera as Config
from jetvla.runtime.errors import CameraError, ConfigError
from jetvla.runtime.stamps import StampConverter

EPOCH = 1_795_000_000 * NS_PER_S
RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
ALPHA = np.full((6, 8, 1), 9, np.uint8)
PIXELS: dict[str, NDArray[np.uint8]] = {
    "rgb8": RGB,
    "bgr8": RGB[..., ::-1],
    "rgba8": np.concatenate([RGB, ALPHA], axis=2),
    "bgra8": np.concatenate([RGB[..., ::-1], ALPHA], axis=2),
    "mono8": RGB[..., :1],
}


class Topics:
    """A node that delivers what a test publishes."""

    def __init__(self) -> None:
        self.receive: dict[str, Callable[[Any], None]] = {}

    def subscribe_images(self, topic: str, compressed: bool, receive: Callable[[Any], None]) -> Callable[[], None]:
        self.receive[topic] = receive
        return lambda: self.receive.__delitem__(topic)


def stamped(clock: FakeClock, **fields: Any) -> SimpleNamespace:
    wall = clock.now_ns() + EPOCH
    stamp = SimpleNamespace(sec=wall // NS_PER_S, nanosec=wall % NS_PER_S)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), **fields)


def message(clock: FakeClock, encoding: str = "rgb8", padding: int = 0) -> SimpleNamespace:
    pixels = PIXELS[encoding]
    rows = pixels.reshape(6, -1)
    data = np.concatenate([rows, np.full((6, padding), 255, np.uint8)], axis=1)
    return stamped(clock, height=6, width=8, encoding=encoding, step=data.shape[1], data=array("B", data.tobytes()))


def opened(clock: FakeClock, stamp: str = "header", compressed: bool = False) -> tuple[RosCamera, Topics]:
    topics = Topics()
    config = Config(kind="ros", topic="/image", stamp=stamp, compressed=compressed)
    return RosCamera("front", config, clock, topics, StampConverter(clock, lambda: clock.now_ns() + EPOCH)), topics


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_every_encoding_becomes_rgb(encoding: str, padding: int) -> None:
    clock = FakeClock()
    camera, topics = opened(clock)
    taken = clock.now_ns()
    sent = message(clock, encoding, padding)
    clock.advance(0.05)
    topics.receive["/image"](sent)
    frame = camera.read(0.0)
    assert np.array_equal(frame.image, RGB if encoding != "mono8" else RGB[..., :1].repeat(3, axis=2))
    assert (frame.camera, frame.seq, frame.t_ns) == ("front", 0, taken)


def test_the_newest_message_wins_and_is_returned_once() -> None:
    clock = FakeClock()
    camera, topics = opened(clock)
    for _ in range(3):
        clock.advance(0.03)
        topics.receive["/image"](message(clock))
    frame = camera.read(0.0)
    assert (frame.seq, frame.t_ns) == (2, clock.now_ns())
    with pytest.raises(CameraTimeout, match=r"'front' \(/image\): no frame within 0\.000 s$"):
        camera.read(0.0)


def test_compressed_images() -> None:
    clock = FakeClock()
    camera, topics = opened(clock, compressed=True)
    _, data = cv2.imencode(".png", RGB[..., ::-1])
    topics.receive["/image"](stamped(clock, format="png", data=array("B", data.tobytes())))
    assert np.array_equal(camera.read(0.0).image, RGB)


@pytest.mark.parametrize("data", [b"", b"not a picture"])
def test_broken_compressed_images_are_named(data: bytes) -> None:
    clock = FakeClock()
    camera, topics = opened(clock, compressed=True)
    topics.receive["/image"](stamped(clock, format="jpeg", data=array("B", data)))
    with pytest.raises(CameraError, match=r"\(/image\): \d+ bytes of format 'jpeg' cannot be decoded"):
        camera.read(0.0)


def test_other_encodings_are_named_with_those_that_are_read() -> None:
    clock = FakeClock()
    camera, topics = opened(clock)
    sent = message(clock)
    sent.encoding = "16UC1"
    topics.receive["/image"](sent)
    with pytest.raises(CameraError, match=r"\(/image\): encoding '16UC1' is not supported; publish one of rgb8, bgr8"):
        camera.read(0.0)


@pytest.mark.parametrize("change", [{"step": 23}, {"height": 7}, {"width": 9}, {"width": 0}, {"height": 0}])
def test_an_image_that_does_not_fit_its_bytes_is_refused(change: dict[str, int]) -> None:
    sent = message(FakeClock())
    for field, value in change.items():
        setattr(sent, field, value)
    with pytest.raises(ValueError, match="does not fit its 144 bytes"):
        decode_raw(sent)


def test_dropped_stamps_are_counted_and_explained() -> None:
    clock = FakeClock()
    camera, topics = opened(clock)
    for _ in range(3):
        sent = message(clock)
        sent.header.stamp = SimpleNamespace(sec=0, nanosec=0)
        topics.receive["/image"](sent)
    with pytest.raises(CameraTimeout, match="3 dropped, the last because the header stamp is zero; set 'stamp: arr"):
        camera.read(0.0)


def test_arrival_time_serves_publishers_without_stamps() -> None:
    clock = FakeClock()
    camera, topics = opened(clock, stamp="arrival")
    sent = message(clock)
    sent.header.stamp = SimpleNamespace(sec=0, nanosec=0)
    clock.advance(0.5)
    topics.receive["/image"](sent)
    assert camera.read(0.0).t_ns == clock.now_ns()


def test_closing_ends_the_subscription() -> None:
    camera, topics = opened(FakeClock())
    camera.close()
    assert not topics.receive


def test_without_ros_the_configuration_is_wrong() -> None:
    with pytest.raises(ConfigError, match="'front' is of kind 'ros'"):
        open_camera("front", Config(kind="ros"), FakeClock())
