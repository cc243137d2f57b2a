"""Makes commands legal: velocity, acceleration and jerk of every group of dimensions.

A *target* velocity is bounded, then followed in two stages on a grid of one control period:

1. ``w`` follows the target with bounded acceleration, linear between grid points (trapezoid);
2. the command is the mean of ``w`` over the last N periods, exactly integrated at any time in between.

A mean over a window of T seconds of something whose acceleration is at most A has acceleration at most A
and jerk at most (difference of accelerations) / T; it also never leaves the convex set that ``w`` is in, so
the bound on speed needs no further clipping. Unlike a filter with an infinite tail it reaches zero exactly,
T after ``w`` does.

Absolute dimensions use the same two stages for their derivative, with a target velocity from which they can
still brake in time (``v²/2a``, in its discrete form), and integrate the command. Rates are integrated too, from 0,
for what is left between the two stages is the way that a stop would still take.

The stop is allowed to be harder than any other change. So that a hard stop followed by a new start cannot
add up to more than the limits, ``w`` waits N periods after the last hard step; see :meth:`_Block.step`.
"""

from __future__ import annotations

import math

import numpy as np

from jetvla.runtime.guard.axes import Block, Vector, norms


class Shaper:
    """The shaped command of all dimensions; starts at rest.

    Args:
        dimensions: D.
        period_s: nominal time between two calls of :meth:`advance`.
    """

    def __init__(self, blocks: tuple[Block, ...], dimensions: int, period_s: float) -> None:
        self._blocks = tuple(_Block(b, period_s) for b in blocks)
        self._period_s = period_s
        self._fraction = 0.0
        self._dimensions = dimensions
        self.reset(np.zeros(dimensions))

    def reset(self, positions: Vector) -> None:
        """Be at rest at ``positions`` [D]; only absolute dimensions look at theirs."""
        self._fraction = 0.0
        for block in self._blocks:
            block.reset(positions)

    @property
    def at_rest(self) -> bool:
        """Nothing moves, nor is about to."""
        return all(block.at_rest for block in self._blocks)

    def stopping_way(self) -> Vector:
        """Float64 [D]: how far each dimension would still go, with its sign, if it were told to rest from now on."""
        way = np.empty(self._dimensions)
        for block in self._blocks:
            way[block.index] = block.stopping_way()
        return way

    def advance(self, dt_s: float, target: Vector | None) -> Vector:
        """Command float64 [D] after ``dt_s`` >= 0 more seconds, on the way to ``target`` [D] (None: to rest).

        ``target`` must be finite and within bounds (:class:`jetvla.runtime.guard.bounds.Bounds`).
        """
        now = self._fraction + dt_s / self._period_s
        out = np.empty(self._dimensions)
        while now >= 1.0:
            for block in self._blocks:
                block.travel(self._fraction, 1.0)
                block.step(target)
            self._fraction, now = 0.0, now - 1.0
        for block in self._blocks:
            block.travel(self._fraction, now)
            out[block.index] = block.command(now)
        self._fraction = now
        return out


class _Block:
    """One :class:`Block` on the grid.

    ``_knots`` [N + 2, G, n] holds ``w`` at the last N + 1 grid points and the one ahead. The mean over the
    window that ends at fraction f of the current segment is a quadratic in f.
    """

    def __init__(self, block: Block, period_s: float) -> None:
        rate = block.rate
        self.index = block.index
        self._absolute = block.absolute
        self._rate = rate
        self._period_s = period_s
        self._window = max(1, math.ceil(rate.smoothing_s / period_s - 1e-9))
        self._up = rate.acceleration * period_s
        self._down = rate.deceleration * period_s
        self.reset(np.zeros(1 + int(block.index.max())))

    def reset(self, positions: Vector) -> None:
        groups = self.index.shape
        self._knots = np.zeros((self._window + 2, *groups))
        self._base = np.zeros(groups)
        self._slope = np.zeros(groups)
        self._curve = np.zeros(groups)
        self._path: Vector = positions[self.index]
        self._position: Vector = self._path
        self._settling = 0
        self.at_rest = True

    def command(self, fraction: float) -> Vector:
        """[G, n] at ``fraction`` of the segment: mean of ``w`` over the window that ends there, or position."""
        if self._absolute:
            return self._position
        command: Vector = self._base + fraction * (self._slope + 0.5 * fraction * self._curve)
        return command

    def stopping_way(self) -> Vector:
        """[G, n]: to where ``w`` has come by the end of the segment, and on at the deceleration limit."""
        ahead: Vector = self._knots[-1]
        return np.asarray(self._path - self._position + ahead * (norms(ahead) / (2.0 * self._rate.deceleration)))

    def travel(self, start: float, end: float) -> None:
        """Integrate the command over part of the segment."""
        if not self.at_rest:
            d1, d2, d3 = end - start, (end**2 - start**2) / 2, (end**3 - start**3) / 6
            self._position = self._position + self._period_s * (d1 * self._base + d2 * self._slope + d3 * self._curve)

    def step(self, target: Vector | None) -> None:
        """Enter the next segment: choose the knot ahead.

        Only a stop is harder than ``acceleration``; it scales ``w`` down and keeps its direction. Until
        such a step has left the window, ``w`` may only shrink or stay. Hence accelerations within one
        window differ by at most acceleration + deceleration, and speed never grows by more than
        ``acceleration``: the last hard part of the window can only take speed away.
        """
        if target is None and self.at_rest:
            return
        w: Vector = self._knots[-1].copy()
        ahead = self._stop(w) if target is None else self._follow(w, target[self.index])
        self._path = self._path + 0.5 * self._period_s * (w + ahead)
        knots = self._knots
        knots[:-1] = knots[1:]
        knots[-1] = ahead
        self.at_rest = not knots.any()
        n = self._window
        oldest = knots[1] - knots[0]
        self._base = (knots[: n + 1].sum(axis=0) - 0.5 * (knots[0] + knots[n])) / n
        self._slope = (knots[n] - knots[0]) / n
        self._curve = (ahead - knots[n] - oldest) / n

    def _stop(self, w: Vector) -> Vector:
        norm = norms(w)
        self._settling = self._window if norm.any() else max(0, self._settling - 1)
        # What rounding leaves of the last step is taken with it, or the stop would be one step longer.
        left = np.where(norm > self._down * (1.0 + 1e-9), norm - self._down, 0.0)
        return np.asarray(w * (left / np.maximum(norm, self._down)))

    def _follow(self, w: Vector, target: Vector) -> Vector:
        if self._settling > 0:
            return self._settle(w)
        change = (self._approach(w, target) if self._absolute else target) - w
        return np.asarray(w + change * (self._up / np.maximum(norms(change), self._up)))

    def _settle(self, w: Vector) -> Vector:
        """Rates stay as they are. Positions go on stopping, for staying in motion could pass their range."""
        if self._absolute:
            return self._stop(w)
        self._settling -= 1
        return w

    def _approach(self, w: Vector, target: Vector) -> Vector:
        """Velocity towards position ``target`` from which ``acceleration`` can still stop there.

        Solves ``1.5 P v + v²/2a = distance`` for v: the way left after this period, whose first half is
        already decided by ``w``, must be enough for steps of ``a P`` down to zero.
        """
        way = target - self._path - 0.5 * self._period_s * w
        distance = norms(way)
        a, lead = self._rate.acceleration, 1.5 * self._period_s
        speed = a * (np.sqrt(lead * lead + 2.0 * distance / a) - lead)
        speed = np.minimum(speed, self._rate.velocity)
        return np.asarray(way * (speed / np.maximum(distance, 1e-300)))
