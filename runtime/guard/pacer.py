"""Ticks at a fixed rate, without drift and without bursts."""

from __future__ import annotations

from dataclasses import dataclass

from jetvla.runtime.clock import NS_PER_S, Clock


@dataclass(frozen=True, slots=True)
class Wake:
    """One tick: how late it came, and whether the grid of deadlines was moved because of that."""

    late_ns: int
    reanchored: bool


class Pacer:
    """Sleeps to absolute deadlines ``anchor + k / rate``.

    A tick that is late by at most half a period leaves the deadlines alone, so errors do not add up. After a
    longer stall the deadlines start anew from now: what was missed is not made up for, and two ticks are
    never closer than half a period by the pacer's doing.
    """

    def __init__(self, clock: Clock, rate_hz: float) -> None:
        self._clock = clock
        self._rate_hz = rate_hz
        self._half_ns = round(NS_PER_S / rate_hz / 2)
        self._restart(clock.now_ns())

    def _restart(self, now_ns: int) -> None:
        self._anchor_ns, self._count = now_ns, 1

    def wait(self) -> Wake:
        """Return at the next deadline, or at once if it has passed."""
        deadline_ns = self._anchor_ns + round(self._count * NS_PER_S / self._rate_hz)
        self._clock.sleep_until_ns(deadline_ns)
        now_ns = self._clock.now_ns()
        late_ns = now_ns - deadline_ns
        self._count += 1
        if stalled := late_ns > self._half_ns:
            self._restart(now_ns)
        return Wake(late_ns, stalled)
