"""A V4L2 device through OpenCV, drained by a thread so that its newest frame is never behind its queue."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.cameras.base import CameraTimeout, ImageTopics
from jetvla.runtime.cameras.latest import Latest
from jetvla.runtime.clock import NS_PER_S, Clock
from jetvla.runtime.contracts import Frame
from jetvla.runtime.errors import CameraError, MissingDependency

if TYPE_CHECKING:
    from jetvla.runtime.config import V4l2Camera as Config

# The kernel stamps buffers with CLOCK_MONOTONIC; a driver that does otherwise gives an age outside this.
_MAX_AGE_NS = NS_PER_S
_NS_PER_MS = 1_000_000
_CLOSE_S = 1.0
# 29.97 for 30.
_RATE_TOLERANCE = 0.95
_REMEDIES = {
    errno.ENOENT: "connect it, or correct the path (ls /dev/video*)",
    errno.EACCES: "add this account to the group 'video'",
    errno.EPERM: "its service may not use devices of this kind; DeviceAllow= of the unit",
    errno.EBUSY: "another program uses it",
}


def open_camera(name: str, config: Config, clock: Clock, _: ImageTopics | None) -> V4l2Camera:
    """Open ``config.device`` at its size and rate; CameraError if it gives none of that."""
    return V4l2Camera(name, config.device, _open_device(config), config.stamp, clock)


def _open_device(config: Config) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingDependency("OpenCV", "a v4l2 camera", "pip install opencv-python-headless") from error
    _look(config.device)
    device = cv2.VideoCapture(config.device, cv2.CAP_V4L2)
    try:
        if not device.isOpened():
            raise CameraError(
                f"{config.device} gives no pictures: another program may be using it (fuser -v {config.device}), or "
                f"it is no camera (v4l2-ctl -d {config.device} --all)"
            )
        _set_up(device, config)
    except CameraError:
        device.release()
        raise
    return device


def _look(path: str) -> None:
    """Whether it may be opened at all. OpenCV tells no reason, and writes a line for each try, one a second."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "see the kernel's log: dmesg")
        raise CameraError(f"{path} cannot be opened: {error.strerror}; {remedy}") from error


def _set_up(device: Any, config: Config) -> None:
    """Ask for format, size and rate, and read back what the driver made of them."""
    import cv2

    see = f"see what it can do with 'v4l2-ctl -d {config.device} --list-formats-ext'"
    if config.format is not None:
        device.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*config.format))
    wanted = ((cv2.CAP_PROP_FRAME_WIDTH, config.size[0]), (cv2.CAP_PROP_FRAME_HEIGHT, config.size[1]))
    for key, value in (*wanted, (cv2.CAP_PROP_FPS, config.fps)):
        device.set(key, value)
    got = tuple(int(device.get(key)) for key, _ in wanted)
    if got != tuple(config.size):
        raise CameraError(f"{config.device} gives {list(got)} and not the size {list(config.size)}; {see}")
    fourcc = int(device.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
    if config.format not in (None, fourcc):
        raise CameraError(f"{config.device} gives the format {fourcc} and not {config.format}; {see}")
    # A driver that does not tell its rate gives no positive number.
    if 0 < (fps := device.get(cv2.CAP_PROP_FPS)) < config.fps * _RATE_TOLERANCE:
        raise CameraError(
            f"{config.device} gives {fps:g} frames a second as {fourcc} at the size {list(config.size)}, and not "
            f"fps: {config.fps:g}; lower it, or take another format, such as format: MJPG; {see}"
        )


class V4l2Camera:
    """Frames of one opened ``cv2.VideoCapture``.

    ``stamp`` ``driver`` takes the kernel's capture time, most often the end of the frame; ``arrival`` the
    time at which the frame was handed over.
    """

    def __init__(
        self, name: str, device_name: str, device: Any, stamp: Literal["driver", "arrival"], clock: Clock
    ) -> None:
        import cv2

        self.name = name
        self._where = f"camera {name!r} ({device_name})"
        self._device, self._clock, self._stamp = device, clock, stamp
        self._position: int = cv2.CAP_PROP_POS_MSEC
        self._to_rgb: Callable[[Any], Any] = lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        self._latest: Latest[tuple[int, int, NDArray[np.uint8]]] = Latest()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._drain, name=f"camera-{name}", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame:
        """See :class:`~jetvla.runtime.cameras.base.Camera`."""
        taken = self._latest.take(timeout_s)
        if taken is None:
            raise CameraTimeout(f"{self._where}: no frame within {timeout_s:.3f} s")
        seq, t_ns, bgr = taken
        return Frame(self.name, self._to_rgb(bgr), seq, t_ns)

    def close(self) -> None:
        self._closing.set()
        self._thread.join(_CLOSE_S)
        # A device that gives nothing keeps its reader for 10 s, and must not be pulled away under it.
        if not self._thread.is_alive():
            self._device.release()

    def _drain(self) -> None:
        seq = 0
        try:
            while not self._closing.is_set():
                self._latest.put((seq, *self._grab()))
                seq += 1
        except CameraError as error:
            self._latest.fail(error)

    def _grab(self) -> tuple[int, NDArray[np.uint8]]:
        good, image = self._device.read()
        now_ns = self._clock.now_ns()
        if not good:
            raise CameraError(f"{self._where} gives no more frames; check its cable")
        if self._stamp == "arrival":
            return now_ns, image
        t_ns = round(self._device.get(self._position) * _NS_PER_MS)
        if not 0 <= now_ns - t_ns <= _MAX_AGE_NS:
            raise CameraError(
                f"{self._where}: its driver's time stamp gives an age of {(now_ns - t_ns) / NS_PER_S:.3f} s, "
                "not 0 to 1; set 'stamp: arrival' for this camera"
            )
        return t_ns, image
