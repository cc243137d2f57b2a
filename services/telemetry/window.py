"""What the daemons did in the last seconds, from their spans."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path

from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.histogram import Histogram, Percentiles
from jetvla.runtime.telemetry.span_reader import Span
from jetvla.runtime.telemetry.stages import STAGE_NAMES
from jetvla.services.telemetry.processes import Process, find_process
from jetvla.services.telemetry.ring_follower import RingFollower

WINDOW_S = 10.0


class SpanWindow:
    """One daemon's spans that ended in the last :data:`WINDOW_S`.

    Attributes:
        name: ``guard`` or ``policy``.
        spans: oldest first.
        started_ns: when the daemon started; None before it was seen.
        problem: why its spans cannot be read now; empty if they can.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.spans: deque[Span] = deque()
        self.started_ns: int | None = None
        self.problem = ""
        self._pid = 0
        self._follower = RingFollower(path)

    def move(self, now_ns: int) -> None:
        """Take in what is new, and forget what is too old at ``now_ns``."""
        try:
            batches, self.problem = self._follower.read(), ""
        except JetvlaError as error:
            batches, self.problem = (), str(error)
        for batch in batches:
            self.started_ns, self._pid = batch.started_ns, batch.pid
            self.spans.extend(batch.spans)
        while self.spans and self.spans[0].end_ns < now_ns - seconds_to_ns(WINDOW_S):
            self.spans.popleft()

    def process(self) -> Process | None:
        """The daemon, if it lives."""
        return None if self.started_ns is None else find_process(self._pid, self.started_ns)

    def per_second(self, stage: str, now_ns: int) -> float:
        """How often the daemon ran ``stage``, over the window or the shorter time since its start.

        What a former one ran does not count.
        """
        if self.started_ns is None:
            return 0.0
        seconds = min(WINDOW_S, (now_ns - self.started_ns) / NS_PER_S)
        runs = sum(span.stage == stage and span.end_ns >= self.started_ns for span in self.spans)
        return runs / seconds if seconds > 0 else 0.0

    def close(self) -> None:
        """Let go of the ring."""
        self._follower.close()


def stage_percentiles(windows: Iterable[SpanWindow]) -> dict[str, Percentiles]:
    """Of every stage that ran, in the order of the table."""
    histograms = {name: Histogram() for name in STAGE_NAMES}
    for window in windows:
        for span in window.spans:
            histograms[span.stage].record(span.duration_ns)
    found = {name: histogram.percentiles() for name, histogram in histograms.items()}
    return {name: percentiles for name, percentiles in found.items() if percentiles.count}
