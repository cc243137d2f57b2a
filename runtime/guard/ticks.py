"""Time between two ticks, made sane."""

from __future__ import annotations

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.guard.faults import Finding
from jetvla.runtime.guard.limits import Limits


class TickTimer:
    """Measures ticks. The first one is taken to be one period long."""

    def __init__(self, period_s: float, limits: Limits) -> None:
        self._period_s = period_s
        self._longest_s = limits.period_ratio * period_s
        self._broken = limits.broken_clock
        self._last_ns: int | None = None
        self._stuck = 0

    def tick(self, now_ns: int) -> tuple[float, Finding | None]:
        """Seconds since the last tick, from 0 to the longest allowed, and what is wrong with them.

        After a stall only the longest allowed step is reported, so that the robot, which kept its last
        command all that time, gets no sudden change.
        """
        last_ns, self._last_ns = self._last_ns, now_ns
        if last_ns is None:
            return self._period_s, None
        dt_s = (now_ns - last_ns) / NS_PER_S
        if dt_s <= 0:
            return 0.0, self._no_time(dt_s)
        self._stuck = 0
        if dt_s <= self._longest_s:
            return dt_s, None
        reason = f"{dt_s * 1e3:.1f} ms between two ticks; the longest allowed is {self._longest_s * 1e3:.1f} ms"
        return self._longest_s, Finding("stall", reason)

    def _no_time(self, dt_s: float) -> Finding:
        self._stuck += 1
        fault = "stall" if self._stuck < self._broken else "broken_clock"
        return Finding(fault, f"{dt_s:.9f} s passed between two ticks, {self._stuck} times in a row")
