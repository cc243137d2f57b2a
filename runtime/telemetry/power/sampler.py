"""Power beside a measurement."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import TracebackType

from jetvla.runtime.telemetry.power.energy import Energy, EnergyMeter
from jetvla.runtime.telemetry.power.reading import INTERVAL_S, PowerSource, Reading
from jetvla.runtime.telemetry.power.throttling import Throttling

# How long the first power may take: a line of tegrastats, or the second reading of a counter of energy.
FIRST_S = 1.0


class Sampler:
    """Reads ``source`` in a thread from ``__enter__`` to ``__exit__``; the source stays open.

    It waits for the first reading with power, :data:`FIRST_S` at most, before ``__enter__`` returns.

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
        self._throttling: tuple[Throttling, Throttling] | None = None
        self._active: dict[str, None] = {}
        self.last: Reading | None = None

    def __enter__(self) -> Sampler:
        self._meter.add(self._first())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._meter.add(self._take())

    def energy(self) -> Energy:
        """Of the time between the first and the last reading."""
        return self._meter.energy()

    def held_back(self) -> tuple[str, ...] | None:
        """What throttled in any reading or, where the hardware counts it, between two; None if nobody knows."""
        if self._throttling is None:
            return None
        before, after = self._throttling
        return replace(after, active=tuple(self._active)).since(before)

    def _first(self) -> Reading:
        """The first reading with power; after :data:`FIRST_S`, or of a source that measures none, any."""
        reading = self._take()
        for _ in range(round(FIRST_S / self._interval_s)):
            if reading.total is not None or not self._source.measures_power:
                break
            self._over.wait(self._interval_s)
            reading = self._take()
        return reading

    def _work(self) -> None:
        while not self._over.wait(self._interval_s):
            self._meter.add(self._take())

    def _take(self) -> Reading:
        self.last = reading = self._source.read()
        if (told := reading.throttling) is not None:
            self._throttling = (told if self._throttling is None else self._throttling[0], told)
            self._active.update(dict.fromkeys(told.active))
        return reading
