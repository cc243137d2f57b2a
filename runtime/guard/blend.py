"""A cross-fade from the plan in use to the new one."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.chunk import Plan, Planner


class Blend:
    """Two plans and an offset, however many plans come.

    ``request = (old + offset) + s (new - old - offset)``, where s goes from 0 to 1 as ``3 x² - 2 x³``, so that
    neither end of a fade has a kink. The offset is 0 unless a plan comes during a fade: then it moves the plan that
    was faded to, and is the old one from now on, to where the request is, so that the request never jumps.

    No plan is followed beyond its age, so a fade ends at the latest when the old plan is stale.

    Args:
        fade_s: length of a fade.
    """

    def __init__(self, planner: Planner, fade_s: float) -> None:
        self._planner = planner
        self._fade_ns = seconds_to_ns(fade_s)
        self.newest: Plan | None = None
        self._old: Plan | None = None
        self._began_ns = self._end_ns = 0
        self._offset: Vector = np.zeros(0)

    def add(self, plan: Plan, now_ns: int) -> None:
        if self.newest is not None:
            stale_ns = self.newest.t0_ns + self._planner.age_limit_ns
            self._offset = self.values(now_ns) - self._planner.action(self.newest, now_ns)
            self._began_ns, self._end_ns = now_ns, min(now_ns + self._fade_ns, stale_ns)
        self._old, self.newest = self.newest, plan

    def clear(self) -> None:
        self._old = self.newest = None

    def values(self, now_ns: int) -> Vector:
        assert self.newest is not None
        new = self._planner.action(self.newest, now_ns)
        if self._old is None or now_ns >= self._end_ns:
            return new
        # Time may go back, even to before a fade, and a fade may have no length.
        x = max(0, now_ns - self._began_ns) / max(1, self._end_ns - self._began_ns)
        old = self._planner.action(self._old, now_ns) + self._offset
        return np.asarray(old + x * x * (3.0 - 2.0 * x) * (new - old))
