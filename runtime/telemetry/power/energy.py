"""Energy per action from readings of power."""

from __future__ import annotations

from dataclasses import dataclass

from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.reading import INTERVAL_S, Reading

# Intervals without a reading that make a gap.
_GAP = 3
_MJ_PER_J = 1000.0


@dataclass(frozen=True, slots=True)
class Energy:
    """What was consumed.

    Attributes:
        rail: the total that was measured, as :func:`jetvla.runtime.telemetry.power.rail.total` names it; energies of
            different rails cannot be compared.
        joules: over ``seconds``.
        seconds: that readings with power cover.
        gaps: times that none covers, also before the first and after the last of them; their energy is not in
            ``joules``.
        gap_seconds: all gaps together.
    """

    rail: str
    joules: float
    seconds: float
    gaps: int
    gap_seconds: float

    @property
    def mean_watts(self) -> float | None:
        """Over the time that readings cover; None if they cover none."""
        return self.joules / self.seconds if self.seconds > 0 else None

    def millijoules_per_action(self, actions: int) -> float | None:
        """Of ``actions`` that were made between the first and the last reading, whether these have power or not; None
        without actions or power.

        A gap counts with the mean power of the rest: a value with ``gaps`` is an estimate, and must be called one.
        """
        if actions < 1 or self.mean_watts is None:
            return None
        return self.mean_watts * (self.seconds + self.gap_seconds) * _MJ_PER_J / actions


class EnergyMeter:
    """Adds up power over time by the trapezoidal rule.

    Args:
        interval_s: between two readings; those that are more than three of it apart leave a gap.
    """

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self._gap_ns = seconds_to_ns(_GAP * interval_s)
        self._last: tuple[int, Rail] | None = None
        self._rail = ""
        self._first_ns: int | None = None
        self._newest_ns = 0
        self._joules, self._covered_ns, self._gaps, self._missed_ns = 0.0, 0, 0, 0

    def add(self, reading: Reading) -> None:
        """Count ``reading``; one without power leaves a gap, one that was counted before changes nothing."""
        if self._first_ns is None:
            self._first_ns = reading.t_ns
        elif reading.t_ns <= self._newest_ns:
            return
        self._newest_ns = reading.t_ns
        power = reading.total
        if power is None:
            return
        if self._last is not None:
            self._interval(reading.t_ns - self._last[0], self._last[1], power)
        elif reading.t_ns > self._first_ns:
            self._gap(reading.t_ns - self._first_ns)
        self._last, self._rail = (reading.t_ns, power), self._rail or power.name

    def energy(self) -> Energy:
        """From the first reading to the last."""
        silent_ns = 0 if self._last is None else self._newest_ns - self._last[0]
        gaps, missed_ns = self._gaps + (silent_ns > 0), self._missed_ns + silent_ns
        return Energy(self._rail, self._joules, self._covered_ns / NS_PER_S, gaps, missed_ns / NS_PER_S)

    def _interval(self, ns: int, before: Rail, after: Rail) -> None:
        """Power of another total cannot be averaged with this one's."""
        if ns > self._gap_ns or {before.name, after.name} != {self._rail}:
            self._gap(ns)
        else:
            self._covered_ns += ns
            self._joules += (before.mw + after.mw) / 2 / _MJ_PER_J * ns / NS_PER_S

    def _gap(self, ns: int) -> None:
        self._gaps += 1
        self._missed_ns += ns
