"""A V4L2 device through OpenCV, drained by a thread so that its newest frame is never behind its queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
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


def open_camera(name: str, config: Config, clock: Clock, _: ImageTopics | None) -> V4l2Camera:
    """Open ``config.device`` at its size and rate; CameraError if it gives none of that."""
    return V4l2Camera(name, config.device, _open_device(config), config.stamp, clock)


def _open_device(config: Config) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingDependency("OpenCV", "a v4l2 camera", "pip install opencv-python-headless") from error
    # OpenCV writes a line for each try at a device that is not there, and it is tried every second.
    device = cv2.VideoCapture(config.device, cv2.CAP_V4L2) if Path(config.device).exists() else None
    if device is None or not device.isOpened():
        raise CameraError(
            f"{config.device} cannot be opened: check that it is there (ls /dev/video*), that no other "
            "program uses it, and that this user is in the group 'video'"
        )
    wanted = ((cv2.CAP_PROP_FRAME_WIDTH, config.size[0]), (cv2.CAP_PROP_FRAME_HEIGHT, config.size[1]))
    for key, value in (*wanted, (cv2.CAP_PROP_FPS, config.fps)):
        device.set(key, value)
    got = tuple(int(device.get(key)) for key, _ in wanted)
    if got != tuple(config.size):
        device.release()
        raise CameraError(
            f"{config.device} gives {list(got)} and not the size {list(config.size)}; see what it can do "
            f"with 'v4l2-ctl -d {config.device} --list-formats-ext'"
        )
    return device


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
