"""Looks at what is about to be published, and never changes it.

Shares no arithmetic with the shaper: it differentiates commands over the real time between them. Divided
differences of a smooth motion are means of its derivatives, so limits on the derivatives hold for them
exactly, whatever the spacing; the centres of two such means lie ``span`` apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.guard.axes import Block, Vector, absolute_mask

SLACK = 1e-6
ROUNDING = 1e-14


@dataclass(frozen=True, slots=True, eq=False)
class _Motion:
    """Velocity [D], acceleration [D] and the time steps of the newest command, newest first."""

    values: Vector
    velocity: Vector
    acceleration: Vector
    steps: tuple[float, float]


class Checker:
    """Compares a command with the ones published before it."""

    def __init__(self, spec: ActionSpec, blocks: tuple[Block, ...], low: Vector, high: Vector, period_s: float) -> None:
        self._names = spec.names
        self._blocks = blocks
        self._period_s = period_s
        self._absolute = absolute_mask(spec)
        self._alone = {int(i) for b in blocks if b.index.shape[1] == 1 for i in b.index.flat}
        self._low, self._high = low, high
        self.reset(np.zeros(len(spec)))

    def reset(self, values: Vector) -> None:
        """The robot is at rest, and was for long, with ``values`` [D]."""
        still = np.zeros(len(self._names))
        self._last = _Motion(values.copy(), still, still, (self._period_s, self._period_s))

    @property
    def last(self) -> Vector:
        """Values [D] of the last command."""
        return self._last.values

    def check(self, values: Vector, dt_s: float) -> str:
        """Which limit ``values`` [D], ``dt_s`` >= 0 after the last command, would break; empty if none.

        A legal command becomes the one that the next is compared with.
        """
        last = self._last
        if values.shape != last.values.shape or not np.isfinite(values).all():
            return "not finite, or of the wrong shape"
        if dt_s <= 0:
            return "" if np.array_equal(values, last.values) else "changed without time passing"
        motion = self._motion(values, dt_s)
        reason = self._range(values) or self._rates(motion, dt_s)
        if not reason:
            self._last = motion
        return reason

    def _motion(self, values: Vector, dt_s: float) -> _Motion:
        last, absolute = self._last, self._absolute
        velocity = np.where(absolute, (values - last.values) / dt_s, values)
        span = np.where(absolute, (dt_s + last.steps[0]) / 2, dt_s)
        return _Motion(values, velocity, (velocity - last.velocity) / span, (dt_s, last.steps[0]))

    def _range(self, values: Vector) -> str:
        """Outside, only inward motion is allowed. A Cartesian position is limited by its target alone."""
        slack = SLACK * np.maximum(1.0, np.abs(values))
        outward = np.where(values > self.last, values > self._high + slack, False)
        outward |= np.where(values < self.last, values < self._low - slack, False)
        for i in np.flatnonzero(outward):
            if not self._absolute[i] or int(i) in self._alone:
                return f"{self._names[i]} = {values[i]:g} is outside {self._low[i]:g} to {self._high[i]:g}"
        return ""

    def _rates(self, motion: _Motion, dt_s: float) -> str:
        last = self._last
        for block in self._blocks:
            v, v0 = _norm(motion.velocity, block), _norm(last.velocity, block)
            a = _norm(motion.acceleration, block)
            j = _norm(motion.acceleration - last.acceleration, block)
            previous = sum(last.steps)
            span_a = (dt_s + last.steps[0]) / 2 if block.absolute else dt_s
            span_j = (dt_s + previous) / 3 if block.absolute else (dt_s + last.steps[0]) / 2
            rate = block.rate
            # Rounding of the values, amplified by each division by the shortest of the time steps.
            shortest = min(dt_s, *last.steps)
            noise = ROUNDING * max(1.0, float(np.abs(motion.values[block.index]).max()))
            e0 = noise / shortest if block.absolute else noise
            e1, e2 = e0 / shortest, e0 / shortest**2
            rows = (
                ("velocity", v, rate.velocity, e0),
                ("acceleration", np.maximum((v - v0) / span_a, 0.0), rate.acceleration, e1),
                ("deceleration", a, rate.deceleration, e1),
                ("jerk", j / span_j, rate.jerk, e2),
            )
            for name, found, limit, error in rows:
                if (found > limit * (1 + SLACK) + error).any():
                    return self._sentence(block, name, found, limit)
        return ""

    def _sentence(self, block: Block, name: str, found: Vector, limit: float) -> str:
        worst = int(np.argmax(found))
        names = ", ".join(self._names[i] for i in block.index[worst])
        return f"{name} of {names} is {float(found[worst]):.6g}, above {limit:g}"


def _norm(x: Vector, block: Block) -> Vector:
    return np.asarray(np.sqrt(np.square(x[block.index]).sum(axis=1)))
