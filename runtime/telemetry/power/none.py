"""No source: it says why."""

from __future__ import annotations

from pathlib import Path

from jetvla.runtime.clock import Clock
from jetvla.runtime.telemetry.power.reading import Reading


class NoSource:
    """Readings that hold nothing but the reason."""

    name = "none"
    measures_power = False

    def __init__(self, reason: str, clock: Clock) -> None:
        self._reason, self._clock = reason, clock

    def read(self) -> Reading:
        return Reading(self._clock.now_ns(), self.name, note=self._reason)

    def close(self) -> None:
        """Nothing was started."""


def open_source(interval_s: float, clock: Clock, root: Path) -> NoSource:
    """The source of those who want none."""
    return NoSource("power is not read, because the source 'none' was chosen", clock)
