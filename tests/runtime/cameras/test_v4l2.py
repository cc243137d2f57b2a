"""A V4L2 device, played by a fake ``cv2.VideoCapture``."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path
from queue import Queue

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.runtime.cameras import CameraTimeout, open_camera
from jetvla.runtime.cameras.v4l2 import V4l2Camera
from jetvla.runtime.clock import FakeClock
from jetvla.runtime.config import V4l2Camera as Config
from jetvla.runtime.errors import CameraError

# Only for a test that would otherwise hang.
PATIENCE_S = 60.0
BLUE = np.zeros((4, 6, 3), np.uint8)
BLUE[..., 0] = 200


class Device:
    """Gives one frame for each time stamp (milliseconds) that is put; None is a pulled cable."""

    def __init__(self, size: tuple[int, int] = (640, 480), fps: float = 30.0) -> None:
        self.stamps: Queue[float | None] = Queue()
        self.taken = threading.Semaphore(0)
        self.released = False
        self._now = 0.0
        self._values: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: size[1],
            cv2.CAP_PROP_FPS: fps,
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
        }
        self.asked: dict[int, float] = {}

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        self.taken.release()
        stamp = self.stamps.get()
        if stamp is None:
            return False, None
        self._now = stamp
        return True, BLUE

    def get(self, key: int) -> float:
        return self._now if key == cv2.CAP_PROP_POS_MSEC else self._values[key]

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return True

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def release(self) -> None:
        self.released = True

    def give(self, *stamps: float | None) -> None:
        """Give frames and return when the camera's thread has dealt with them."""
        for stamp in stamps:
            self.taken.acquire(timeout=PATIENCE_S)
            self.stamps.put(stamp)
        if stamps[-1] is not None:
            assert self.taken.acquire(timeout=PATIENCE_S)
            self.taken.release()


def opened(clock: FakeClock, stamp: str = "driver") -> tuple[V4l2Camera, Device]:
    device = Device()
    return V4l2Camera("front", "/dev/video0", lambda: device, stamp, clock), device


def test_the_drivers_stamp_is_the_capture_time() -> None:
    clock = FakeClock(2_000_000_000)
    camera, device = opened(clock)
    device.give(1950.5)
    frame = camera.read(PATIENCE_S)
    assert (frame.t_ns, frame.seq) == (1_950_500_000, 0)
    assert frame.image[0, 0].tolist() == [0, 0, 200]
    device.give(None)
    camera.close()
    assert device.released


def test_the_queue_is_drained_so_that_the_newest_wins() -> None:
    camera, device = opened(FakeClock(2_000_000_000))
    device.give(1900, 1933, 1966)
    assert camera.read(PATIENCE_S).seq == 2
    with pytest.raises(CameraTimeout):
        camera.read(0.0)
    device.give(None)
    camera.close()


@pytest.mark.parametrize("stamp_ms", [0.0, 999.0, 2001.0, 1.8e12])
def test_a_driver_without_monotonic_stamps_is_refused_and_not_guessed_at(stamp_ms: float) -> None:
    camera, device = opened(FakeClock(2_000_000_000))
    device.stamps.put(stamp_ms)
    with pytest.raises(CameraError, match=r"\(/dev/video0\): its driver's time stamp.*'stamp: arrival'"):
        camera.read(PATIENCE_S)
    camera.close()


def test_arrival_time_is_taken_when_asked_for() -> None:
    clock = FakeClock(2_000_000_000)
    camera, device = opened(clock, "arrival")
    device.give(0.0)
    assert camera.read(PATIENCE_S).t_ns == clock.now_ns()
    device.give(None)
    camera.close()


def test_a_pulled_cable_is_an_error_after_the_last_frame() -> None:
    camera, device = opened(FakeClock(2_000_000_000))
    device.stamps.put(1950)
    device.stamps.put(None)
    camera._thread.join(PATIENCE_S)
    assert camera.read(PATIENCE_S).seq == 0
    with pytest.raises(CameraError, match="gives no more frames; check its cable"):
        camera.read(PATIENCE_S)
    camera.close()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    config = Config(kind="v4l2", device=str(tmp_path / "video9"))
    with pytest.raises(CameraError, match=r"video9 cannot be opened: No such file.*; connect it, or correct the path"):
        open_camera("front", config, FakeClock()).read(PATIENCE_S)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "group 'video'"),
        (errno.EPERM, "DeviceAllow="),
        (errno.EBUSY, "another program"),
        (errno.ENXIO, "dmesg"),
    ],
)
def test_each_refusal_of_the_kernel_has_its_remedy(monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    def refuse(path: str, _: int) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CameraError, match=f"/dev/video0 cannot be opened: {os.strerror(number)}; .*{remedy}"):
        open_camera("front", Config(kind="v4l2"), FakeClock()).read(PATIENCE_S)


def test_a_file_that_is_no_camera_is_named(tmp_path: Path) -> None:
    (tmp_path / "video9").touch()
    with pytest.raises(CameraError, match=r"video9 gives no pictures: another program may be using it"):
        open_camera("front", Config(kind="v4l2", device=str(tmp_path / "video9")), FakeClock()).read(PATIENCE_S)


def refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: Device, **wanted: object) -> str:
    """What is said of ``device`` where the configuration asks for what it does not give."""
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: device)
    (tmp_path / "video0").touch()
    config = Config.model_validate({"kind": "v4l2", "device": str(tmp_path / "video0"), **wanted})
    with pytest.raises(CameraError) as caught:
        open_camera("front", config, FakeClock()).read(PATIENCE_S)
    assert device.released
    return str(caught.value)


def test_another_size_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = refused(monkeypatch, tmp_path, Device((1280, 720)))
    assert "gives [1280, 720] and not the size [640, 480]" in said


def test_another_format_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "gives the format YUYV and not MJPG" in refused(monkeypatch, tmp_path, Device(), format="MJPG")


def test_a_lower_rate_than_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = refused(monkeypatch, tmp_path, Device(fps=10.0))
    assert "gives 10 frames a second as YUYV at the size [640, 480], and not fps: 30" in said
    assert "format: MJPG" in said


@pytest.mark.parametrize("fps", [-1.0, 0.0, float("nan"), 29.97, 30.0, 60.0])
def test_a_rate_that_is_right_or_not_told_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fps: float) -> None:
    device = Device(fps=fps)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: device)
    (tmp_path / "video0").touch()
    camera = open_camera("front", Config(kind="v4l2", device=str(tmp_path / "video0"), format="YUYV"), FakeClock())
    device.stamps.put(None)
    camera.close()
    assert device.asked == {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"YUYV"),
        cv2.CAP_PROP_FRAME_WIDTH: 640,
        cv2.CAP_PROP_FRAME_HEIGHT: 480,
        cv2.CAP_PROP_FPS: 30.0,
    }


def test_a_device_that_hangs_is_let_go_of_and_not_pulled_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetvla.runtime.cameras.v4l2._CLOSE_S", 0.01)
    camera, device = opened(FakeClock(2_000_000_000))
    camera.close()
    assert not device.released
    device.stamps.put(None)
    camera._thread.join(PATIENCE_S)
    assert device.released


def test_a_device_that_takes_long_to_open_holds_nobody_up() -> None:
    answers, device = threading.Event(), Device()

    def open_slowly() -> Device:
        answers.wait(PATIENCE_S)
        return device

    camera = V4l2Camera("front", "/dev/video0", open_slowly, "driver", FakeClock(2_000_000_000))
    with pytest.raises(CameraTimeout, match=r"\(/dev/video0\) is still being opened"):
        camera.read(0.0)
    answers.set()
    device.give(1950)
    assert camera.read(PATIENCE_S).seq == 0
    device.give(None)
    camera.close()
    assert device.released


@pytest.mark.parametrize("broken", ["read", "isOpened"])
def test_what_opencv_itself_raises_is_a_failure_of_the_camera(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str
) -> None:
    def fails(*_: object) -> None:
        raise cv2.error("imdecode failed")

    device = Device()
    monkeypatch.setattr(device, broken, fails)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: device)
    (tmp_path / "video0").touch()
    camera = open_camera("front", Config(kind="v4l2", device=str(tmp_path / "video0")), FakeClock())
    with pytest.raises(CameraError, match=r"failed: .*imdecode failed"):
        camera.read(PATIENCE_S)
    camera.close()


def test_what_is_no_picture_is_a_failure_of_the_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    camera, device = opened(FakeClock(2_000_000_000))
    monkeypatch.setattr(sys.modules[__name__], "BLUE", np.zeros((4, 6, 7), np.uint8))
    device.give(1950)
    with pytest.raises(CameraError, match="no picture"):
        camera.read(PATIENCE_S)
    device.give(None)
    camera.close()
