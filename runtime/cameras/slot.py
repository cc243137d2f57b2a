"""A camera that may come late, fail and come back."""

from __future__ import annotations

from collections.abc import Callable

from jetvla.runtime.cameras.base import Camera, CameraEnded, CameraTimeout
from jetvla.runtime.cameras.health import FrameHealth, HealthMonitor
from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.contracts import Frame
from jetvla.runtime.errors import CameraError

RETRY_S = 1.0


class CameraSlot:
    """The place of one camera: opens it, opens it again a second after it failed, and watches its health.

    Attributes:
        frame: the newest frame, or None before the first.
        health: what is wrong with that frame.
        failures: how often it could not be opened, or failed.
    """

    def __init__(self, name: str, open_: Callable[[], Camera], clock: Clock) -> None:
        self.name = name
        self._open, self._clock = open_, clock
        self._camera: Camera | None = None
        self._monitor = HealthMonitor()
        self._retry_ns = clock.now_ns()
        self._error = CameraError(f"camera {name!r} is not open yet")
        self.frame: Frame | None = None
        self.health = FrameHealth()
        self.failures = 0

    def read(self, timeout_s: float) -> Frame:
        """The next frame.

        Raises:
            CameraTimeout: if there is none in time.
            CameraError: if the camera has failed, at once and then after ``timeout_s``, until it is back.
        """
        camera = self._camera or self._try_open(timeout_s)
        try:
            frame = camera.read(timeout_s)
        except CameraTimeout:
            raise
        except CameraError as error:
            self._give_up(error)
            raise
        self.health = self._monitor.check(frame)
        self.frame = frame
        return frame

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _try_open(self, timeout_s: float) -> Camera:
        deadline_ns = self._clock.now_ns() + seconds_to_ns(timeout_s)
        if self._retry_ns > deadline_ns:
            self._clock.sleep_until_ns(deadline_ns)
            raise self._error.with_traceback(None)
        self._clock.sleep_until_ns(self._retry_ns)
        try:
            self._camera = self._open()
        except CameraError as error:
            self._give_up(error)
            raise
        self._monitor = HealthMonitor()
        return self._camera

    def _give_up(self, error: CameraError) -> None:
        self.close()
        self._error = error
        self.failures += 1
        wait_s = RETRY_S if not isinstance(error, CameraEnded) else 1e9
        self._retry_ns = self._clock.now_ns() + seconds_to_ns(wait_s)
