"""Power beside a measurement."""

from __future__ import annotations

import threading
from types import TracebackType

from jetvla.runtime.telemetry.power.energy import Energy, EnergyMeter
from jetvla.runtime.telemetry.power.reading import INTERVAL_S, PowerSource, Reading


class Sampler:
    """Reads ``source`` in a thread from ``__enter__`` to ``__exit__``; the source stays open.

    ::

        with Sampler(source) as sampler:
            actions = run()
        sampler.energy().millijoules_per_action(actions)
        sampler.held_back()
    """

    def __init__(self, source: PowerSource, interval_s: float = INTERVAL_S) -> None:
        self._source, self._interval_s = source, interval_s
        self._meter = EnergyMeter(interval_s)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="power", daemon=True)
        self.first: Reading | None = None
        self.last: Reading | None = None

    def __enter__(self) -> Sampler:
        self._take()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._take()

    def energy(self) -> Energy:
        """Of the time between the first and the last reading."""
        return self._meter.energy()

    def held_back(self) -> tuple[str, ...] | None:
        """What throttled at the start, at the end or, where the hardware counts it, between; None if nobody knows."""
        before, after = (reading.throttling if reading else None for reading in (self.first, self.last))
        return None if before is None or after is None else after.since(before)

    def _work(self) -> None:
        while not self._over.wait(self._interval_s):
            self._take()

    def _take(self) -> None:
        self.last = self._source.read()
        self.first = self.first or self.last
        self._meter.add(self.last)
