"""A bound on how fast one kind of event can fill the audit log, so that no policy can push out what came before."""

from __future__ import annotations

from collections import Counter

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event

Key = tuple[str, str, bool]
"""Kind and fault of an event, and whether the guard was only judging in shadow."""

_SHADOW = (State.BOOT, State.DISARMED)


class Flood:
    """A token bucket for each kind and fault. Changes of state are never suppressed.

    Args:
        per_s: lines a second, of one kind and fault, in the long run.
        shadow_per_s: the same while the guard is disarmed and nothing reaches the robot.
        burst: lines at once.
    """

    def __init__(self, per_s: float, shadow_per_s: float, burst: int) -> None:
        self._per_s = {False: per_s, True: shadow_per_s}
        self._burst = float(burst)
        self._level: dict[Key, tuple[float, int]] = {}
        self._suppressed: Counter[Key] = Counter()
        self.total = 0

    def admits(self, event: Event) -> bool:
        """Whether ``event`` is written; else it is counted."""
        if event.kind == "state":
            return True
        key = (event.kind, event.fault, event.state in _SHADOW)
        tokens, then_ns = self._level.get(key, (self._burst, event.t_ns))
        tokens = min(self._burst, tokens + max(0, event.t_ns - then_ns) / NS_PER_S * self._per_s[key[2]])
        admitted = tokens >= 1.0
        self._level[key] = (tokens - admitted, event.t_ns)
        if not admitted:
            self._suppressed[key] += 1
            self.total += 1
        return admitted

    def drain(self) -> dict[Key, int]:
        """How many of each were suppressed since the last call."""
        counts, self._suppressed = dict(self._suppressed), Counter()
        return counts

    def __bool__(self) -> bool:
        """Something was suppressed since the last :meth:`drain`."""
        return bool(self._suppressed)
