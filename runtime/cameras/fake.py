"""A camera that plays a script; for tests."""

from __future__ import annotations

from collections.abc import Iterable

from jetvla.runtime.cameras.base import CameraEnded, CameraTimeout
from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.contracts import Frame
from jetvla.runtime.errors import CameraError


class ScriptedCamera:
    """Gives each item of ``script`` to one read: a frame, an error to raise, or None for a time-out."""

    def __init__(self, name: str, script: Iterable[Frame | CameraError | None], clock: Clock) -> None:
        self.name = name
        self.closed = False
        self._script = iter(script)
        self._clock = clock

    def read(self, timeout_s: float) -> Frame:
        """See :class:`~jetvla.runtime.cameras.base.Camera`."""
        item = next(self._script, CameraEnded(f"the script of camera {self.name!r} is over"))
        if isinstance(item, Frame):
            return item
        if isinstance(item, CameraError):
            raise item
        self._clock.sleep_until_ns(self._clock.now_ns() + seconds_to_ns(timeout_s))
        raise CameraTimeout(f"camera {self.name!r}: no frame within {timeout_s:.3f} s")

    def close(self) -> None:
        self.closed = True
