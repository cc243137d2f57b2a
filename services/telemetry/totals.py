"""Every run of every stage, counted since the exporter first saw the daemon."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.span_reader import SpanBatch
from jetvla.services.telemetry.processes import Process, find_process
from jetvla.services.telemetry.ring_follower import RingFollower


class StageTotal:
    """Runs of one stage by duration.

    Args:
        bounds_s: upper bounds of the buckets, seconds, rising; a duration belongs to the first that it does not exceed.
    """

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self._bounds_ns = np.array([round(bound * NS_PER_S) for bound in bounds_s])
        self._counts = np.zeros(len(bounds_s) + 1, np.int64)
        self._sum_ns = 0

    def add(self, durations_ns: list[int]) -> None:
        """Count them."""
        places = np.searchsorted(self._bounds_ns, durations_ns)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum_ns += sum(durations_ns)

    @property
    def sum_s(self) -> float:
        return self._sum_ns / NS_PER_S

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound, and how many runs did not exceed it."""
        bounds = [*map(repr, map(float, self._bounds_s)), "+Inf"]
        return list(zip(bounds, map(float, np.cumsum(self._counts)), strict=True))


class RingTotals:
    """All that one daemon's rings have told.

    Attributes:
        name: ``guard`` or ``policy``.
        stages: by name.
        lost: spans that were overwritten before they were counted.
        restarts: starts of the daemon after the first that was seen.
        started_s: when the newest one started, seconds since 1970; None before any was seen.
        problem: why its spans cannot be read now; empty if they can.
    """

    def __init__(self, name: str, path: Path, bounds_s: dict[str, tuple[float, ...]]) -> None:
        self.name = name
        self.stages = {stage: StageTotal(bounds) for stage, bounds in bounds_s.items()}
        self.lost = self.restarts = 0
        self.started_s: float | None = None
        self.problem = ""
        self._started: tuple[int, int] | None = None
        self._follower = RingFollower(path)

    def follow(self) -> None:
        """Count what was written since the last call."""
        try:
            batches, self.problem = self._follower.read(), ""
        except JetvlaError as error:
            batches, self.problem = (), str(error)
        for batch in batches:
            self._begin(batch)
            self._count(batch)

    def close(self) -> None:
        """Let go of the ring."""
        self._follower.close()

    def process(self) -> Process | None:
        """The daemon, if it lives."""
        return None if self._started is None else find_process(*self._started)

    def _begin(self, batch: SpanBatch) -> None:
        started = (batch.pid, batch.started_ns)
        if started == self._started:
            return
        self.restarts += self._started is not None
        self._started = started
        # Taken once: the wall clock may be set later.
        self.started_s = time.time() - (time.monotonic_ns() - batch.started_ns) / NS_PER_S

    def _count(self, batch: SpanBatch) -> None:
        durations: dict[str, list[int]] = {}
        for span in batch.spans:
            durations.setdefault(span.stage, []).append(span.duration_ns)
        for stage, found in durations.items():
            self.stages[stage].add(found)
        self.lost += batch.lost
