"""The way within a window of time: many small steps, each of them legal, add up here.

Looks at commands and the clock alone: neither at the shaper's state nor at what :mod:`ticks` makes of time, and
it is not forgotten when the robot is armed anew. There and back counts twice, so shaking is bounded as well.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.guard.axes import Block, Vector


class Travel:
    """Adds up the commands of every group of dimensions.

    A rate counts for as long as it was in force, that is until the next command. A position counts by its
    distance from the one before.

    Args:
        names: of the D dimensions.
        period_s: nominal time between two commands.
    """

    def __init__(self, names: tuple[str, ...], blocks: tuple[Block, ...], period_s: float) -> None:
        groups = [(row, block) for block in blocks for row in block.index]
        self._names = [", ".join(names[i] for i in row) for row, _ in groups]
        self._group = np.empty(len(names), dtype=np.intp)
        self._absolute = np.empty(len(names), dtype=bool)
        for g, (row, block) in enumerate(groups):
            self._group[row], self._absolute[row] = g, block.absolute
        ways = np.array([[way for _, way in block.rate.travels()] for _, block in groups])
        spans = [s for s, _ in groups[0][1].rate.travels()]
        self._windows = [_Window(seconds_to_ns(s), ways[:, w], period_s) for w, s in enumerate(spans)]
        self._way: Vector = np.zeros(len(groups))
        self._time_ns = 0
        self._now_ns: int | None = None
        self.settle()

    def settle(self) -> None:
        """The robot is at rest; where it will go on from is not a way."""
        self._last: Vector = np.where(self._absolute, np.nan, 0.0)

    def add(self, values: Vector, now_ns: int) -> str:
        """Command [D] at ``now_ns``, NaN where a position is not known. What is exceeded; empty if nothing."""
        # A clock that goes back does not give way back.
        step_ns = 0 if self._now_ns is None else max(0, now_ns - self._now_ns)
        self._now_ns = now_ns
        self._time_ns += step_ns
        x = np.where(self._absolute, values - self._last, self._last * (step_ns / NS_PER_S))
        self._last = values
        square = np.where(np.isnan(x), 0.0, x * x)
        self._way = self._way + np.sqrt(np.bincount(self._group, square, minlength=len(self._way)))
        found = [window.excess(self._time_ns, self._way, self._names) for window in self._windows]
        return next(filter(None, found), "")


class _Window:
    """The last ``span_ns``. Keeps the ways of its ticks, at most two per period."""

    def __init__(self, span_ns: int, limits: Vector, period_s: float) -> None:
        self._span_ns = span_ns
        self._limits = limits
        self._grid_ns = seconds_to_ns(period_s / 2)
        self._past: deque[tuple[int, Vector]] = deque([(0, np.zeros(len(limits)))])

    def excess(self, time_ns: int, way: Vector, names: list[str]) -> str:
        past, begin_ns = self._past, time_ns - self._span_ns
        if time_ns - past[-1][0] >= self._grid_ns:
            past.append((time_ns, way))
        while len(past) > 1 and past[1][0] <= begin_ns:
            past.popleft()
        within = way - self._at(begin_ns)
        if not (within > self._limits).any():
            return ""
        g = int(np.argmax(within / self._limits))
        seconds = self._span_ns / NS_PER_S
        return f"{names[g]} went {within[g]:.4g} within {seconds:g} s; the limit is {self._limits[g]:.4g}"

    def _at(self, t_ns: int) -> Vector:
        """The way at ``t_ns``, in a straight line between the two ticks around it."""
        t0_ns, way = self._past[0]
        if t_ns <= t0_ns:
            return way
        t1_ns, later = self._past[1]
        return way + (later - way) * ((t_ns - t0_ns) / (t1_ns - t0_ns))
