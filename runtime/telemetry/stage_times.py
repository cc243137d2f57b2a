"""Durations of every stage over the last minutes."""

from __future__ import annotations

from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.telemetry.histogram import Percentiles, WindowedHistogram
from jetvla.runtime.telemetry.stages import STAGE_NAMES

PERIOD_S = 300.0
_NS_PER_MS = 1e6


class StageTimes:
    """One histogram a stage; what is older than one to two :data:`PERIOD_S` is forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._histograms: dict[str, WindowedHistogram] = {}
        self.reset()

    def reset(self, keep: tuple[str, ...] = ()) -> None:
        """Forget every stage but ``keep``, as after a warm-up."""
        kept = {name: self._histograms[name] for name in keep}
        self._histograms = {name: kept.get(name) or WindowedHistogram() for name in STAGE_NAMES}
        self._turn_ns = self._clock.now_ns() + seconds_to_ns(PERIOD_S)

    def record(self, stage: str, duration_ns: int) -> None:
        """Count one duration; KeyError for a stage that is not in the table."""
        self._histograms[stage].record(duration_ns)

    def summary(self) -> dict[str, dict[str, float]]:
        """By stage that has run, milliseconds as ``p50 p90 p99 p99.9 max``, and ``count``."""
        if self._clock.now_ns() >= self._turn_ns:
            self._turn_ns += seconds_to_ns(PERIOD_S)
            for histogram in self._histograms.values():
                histogram.turn()
        found = {name: h.percentiles() for name, h in self._histograms.items()}
        return {name: milliseconds(p) for name, p in found.items() if p.count}


def milliseconds(p: Percentiles) -> dict[str, float]:
    """As ``p50 p90 p99 p99.9 max``, and ``count``."""
    values = {"p50": p.p50, "p90": p.p90, "p99": p.p99, "p99.9": p.p999, "max": p.max}
    return {name: ns / _NS_PER_MS for name, ns in values.items()} | {"count": float(p.count)}
