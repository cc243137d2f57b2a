"""A V4L2 device through OpenCV, drained by a thread so that its newest frame is never behind its queue."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from functools import partial
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

log = logging.getLogger(__name__)

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
    """Begin to open ``config.device`` at its size and rate; :meth:`V4l2Camera.read` tells if it gives none of that."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise MissingDependency("OpenCV", "a v4l2 camera", "pip install opencv-python-headless") from error
    return V4l2Camera(name, config.device, partial(_open_device, config), config.stamp, clock)


def _open_device(config: Config) -> Any:
    import cv2

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
    """Frames of one ``cv2.VideoCapture``, which ``open_`` gives or raises CameraError.

    A thread of its own opens, drains and releases it: a device that hangs answers each question after seconds only, and
    whoever reads has other cameras, and a watchdog. ``stamp`` ``driver`` takes the kernel's capture time, most often
    the end of the frame; ``arrival`` the time at which the frame was handed over.
    """

    def __init__(
        self,
        name: str,
        device_name: str,
        open_: Callable[[], Any],
        stamp: Literal["driver", "arrival"],
        clock: Clock,
    ) -> None:
        self.name = name
        self._where = f"camera {name!r} ({device_name})"
        self._open, self._clock, self._stamp = open_, clock, stamp
        self._opened = False
        self._latest: Latest[tuple[int, int, NDArray[np.uint8]]] = Latest()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"camera-{name}", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame:
        """See :class:`~jetvla.runtime.cameras.base.Camera`."""
        import cv2

        taken = self._latest.take(timeout_s)
        if taken is None:
            raise CameraTimeout(
                f"{self._where}: no frame within {timeout_s:.3f} s"
                if self._opened
                else f"{self._where} is still being opened"
            )
        seq, t_ns, bgr = taken
        try:
            image: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        except cv2.error as error:
            raise CameraError(f"{self._where} gives what is no picture: {error}") from error
        return Frame(self.name, image, seq, t_ns)

    def close(self) -> None:
        """A device that gives nothing keeps its thread for 10 s, which is not waited for and releases it then."""
        self._closing.set()
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        import cv2

        try:
            device = self._open()
            self._opened = True
            try:
                self._drain(device)
            finally:
                device.release()
        except CameraError as error:
            self._latest.fail(error)
        except cv2.error as error:
            self._latest.fail(CameraError(f"{self._where} failed: {error}"))
        except Exception as error:
            # Our own mistake; with its thread gone, the camera would be silent for good.
            log.exception("%s failed", self._where)
            self._latest.fail(CameraError(f"{self._where} failed: {error!r}"))

    def _drain(self, device: Any) -> None:
        seq = 0
        while not self._closing.is_set():
            self._latest.put((seq, *self._grab(device)))
            seq += 1

    def _grab(self, device: Any) -> tuple[int, NDArray[np.uint8]]:
        import cv2

        good, image = device.read()
        now_ns = self._clock.now_ns()
        if not good:
            raise CameraError(f"{self._where} gives no more frames; check its cable")
        if self._stamp == "arrival":
            return now_ns, image
        t_ns = round(device.get(cv2.CAP_PROP_POS_MSEC) * _NS_PER_MS)
        if not 0 <= now_ns - t_ns <= _MAX_AGE_NS:
            raise CameraError(
                f"{self._where}: its driver's time stamp gives an age of {(now_ns - t_ns) / NS_PER_S:.3f} s, "
                "not 0 to 1; set 'stamp: arrival' for this camera"
            )
        return t_ns, image
