"""What the policy has really done, for the service manager's watchdog and its status line."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.policy.loop import Turn
from jetvla.runtime.telemetry.histogram import WindowedHistogram
from jetvla.services.service_manager import Notifier
from jetvla.services.status_line import SHORT, Rate

_WINDOW_S = 60.0


class PolicyProgress:
    """Watches the policy's loop; only real progress is told to the watchdog.

    A turn earns its life by a finite chunk, which always answers a fresh frame, or by an honest IDLE. Chunks of NaN and
    a hanging step earn nothing.

    Args:
        engine: what runs, for people.
    """

    def __init__(self, notifier: Notifier, engine: str, bundle: str, clock: Clock) -> None:
        self._notifier, self._clock = notifier, clock
        self._what = f"{engine}; bundle {bundle[:SHORT]}"
        # Of the chunks since the policy last idled; none while it does.
        self._rate: Rate | None = None
        self._chunks = 0
        self._ages, self._turn_ns = WindowedHistogram(), clock.now_ns()

    def __call__(self, turn: Turn) -> None:
        if turn.idle is not None:
            self._notifier.progress()
            self._rate = None
            reason = turn.idle.reason.name.lower().replace("_", " ")
            self._notifier.status(f"idle, {reason}: {turn.idle.text}".rstrip(": ") + f"; {self._what}")
        if turn.chunk is None:
            return
        finite = bool(np.isfinite(turn.chunk.actions).all())
        if finite:
            self._notifier.progress()
        self._count(turn.sent_ns - turn.chunk.t0_ns)
        if self._rate is None:
            self._rate = Rate(self._clock, self._chunks)
        doing = "acts" if finite else "gives actions that are NOT FINITE"
        figures = (*self._rate.of(self._chunks, "chunks"), f"p99 {self._ages.percentiles().p99 / 1e6:.0f} ms")
        self._notifier.status(f"{doing}; {', '.join(figures)}; {self._what}")

    def waiting(self, why: str) -> None:
        """There is no guard to serve, which no restart of the policy would change."""
        self._notifier.progress()
        self._notifier.status(f"waits for the guard: {why}; {self._what}")

    def _count(self, age_ns: int) -> None:
        if self._clock.now_ns() >= self._turn_ns:
            self._turn_ns = self._clock.now_ns() + seconds_to_ns(_WINDOW_S)
            self._ages.turn()
        self._ages.record(age_ns)
        self._chunks += 1
