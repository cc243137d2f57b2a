"""The weighted mean of all plans that have an action for now."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.chunk import ChunkTiming, Plan, Planner

# As many plans as overlap when an ACT policy with LeRobot's chunk of 100 actions answers every frame.
MAX_PLANS = 100


class Ensemble:
    """Weights ``exp(-m i)``, where i = 0 is the oldest plan that counts (Zhao et al. 2023, ACT, temporal ensemble).

    A plan counts from its first row to the end of its last one, and never beyond the limit of its age. When none
    does, the last row of the newest plan is held. Each plan's positions are interpolated and its rates held, as
    :meth:`Planner.action` does. Rows are kept in buffers of a fixed size: when more plans come than the manifest's
    ``replan_s`` lets expect, the oldest go first.

    Args:
        timing: of the chunks, with the coefficient m.
        absolute: bool [D], dimensions that are positions.
    """

    def __init__(self, planner: Planner, timing: ChunkTiming, absolute: NDArray[np.bool_]) -> None:
        overlapping = math.ceil(timing.horizon * timing.dt_s / timing.replan_s) + 1
        size = min(MAX_PLANS, overlapping)
        self._planner = planner
        self._coefficient = timing.ensemble_coefficient
        self._absolute = absolute.astype(np.float64)
        self._rows = np.zeros((size, timing.horizon, len(absolute)))
        self._t0_ns, self._dt_ns, self._length = (np.ones(size, np.int64) for _ in range(3))
        self.newest: Plan | None = None
        self._next = 0

    def add(self, plan: Plan, now_ns: int) -> None:
        slot = self._next % len(self._rows)
        self._rows[slot, : len(plan.rows)] = plan.rows
        self._t0_ns[slot], self._dt_ns[slot], self._length[slot] = plan.t0_ns, plan.dt_ns, len(plan.rows)
        self._next += 1
        self.newest = plan

    def clear(self) -> None:
        self.newest = None
        self._next = 0

    def values(self, now_ns: int) -> Vector:
        assert self.newest is not None
        slots = self._counting(now_ns)
        if not len(slots):
            return self._planner.action(self.newest, now_ns)
        time = np.maximum(now_ns - self._t0_ns[slots], 0) / self._dt_ns[slots]
        row = time.astype(np.intp)
        begin = self._rows[slots, row]
        end = self._rows[slots, np.minimum(row + 1, self._length[slots] - 1)]
        actions = begin + (time - row)[:, None] * self._absolute * (end - begin)
        return np.asarray(self._weights(len(slots)) @ actions)

    def _counting(self, now_ns: int) -> NDArray[np.intp]:
        """Slots of the plans that count now, the oldest first."""
        size = len(self._rows)
        slots = np.arange(max(0, self._next - size), self._next, dtype=np.intp) % size
        age_ns = now_ns - self._t0_ns[slots]
        return slots[(age_ns <= self._planner.age_limit_ns) & (age_ns < self._length[slots] * self._dt_ns[slots])]

    def _weights(self, count: int) -> Vector:
        power = -self._coefficient * np.arange(count)
        weights = np.exp(power - power.max())
        return np.asarray(weights / weights.sum())
