"""Bound, shape, check: the command's way from request to publication."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.guard.axes import Vector, absolute_mask, blocks_of
from jetvla.runtime.guard.bounds import Bounds
from jetvla.runtime.guard.brake import Brake
from jetvla.runtime.guard.checker import Checker
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.shaper import Shaper


class Motion:
    """What the robot is, or would be, told.

    Attributes:
        bounds: clips requests.
        values: float64 [D], the newest legal command.
        blocked: a violation or a broken clock took the command from the shaper; :meth:`settle` returns it.
    """

    def __init__(self, spec: ActionSpec, limits: Limits, dt_s: float, period_s: float) -> None:
        blocks = blocks_of(spec, limits)
        self.bounds = Bounds(spec, blocks, dt_s, limits.excess_margin)
        self._shaper = Shaper(blocks, len(spec), period_s)
        self._checker = Checker(spec, blocks, self.bounds.low, self.bounds.high, period_s)
        self._brake = Brake(blocks, period_s)
        self._absolute = absolute_mask(spec)
        self._published = np.where(self._absolute, np.nan, 0.0)
        self._measured = np.full(len(spec), np.nan)
        self.settle()

    def measured(self, values: Vector) -> None:
        """Feedback [D]; anything not finite is no measurement."""
        self._measured = np.where(np.isfinite(values), values, np.nan)

    def published(self) -> None:
        """:attr:`values` went to the robot."""
        self._published = np.where(self._absolute, self.values, 0.0)

    @property
    def start(self) -> Vector:
        """[D]: measured position, else the last one published, else NaN; 0 for rates."""
        known = np.where(np.isfinite(self._measured), self._measured, self._published)
        return np.where(self._absolute, known, 0.0)

    @property
    def stopping_way(self) -> Vector:
        """[D]: how far a stop would still take each dimension."""
        return self._shaper.stopping_way()

    @property
    def known(self) -> bool:
        """Every position is known, so there is a command to publish."""
        return bool(np.isfinite(self.values).all())

    @property
    def at_rest(self) -> bool:
        """The robot stands still and nothing is left to ramp down."""
        if self.blocked:
            return not self.values[~self._absolute].any()
        return self._shaper.at_rest

    def settle(self) -> None:
        """Begin anew, at rest where the robot is."""
        self._begin(self.start)

    def _begin(self, start: Vector) -> None:
        self.blocked = False
        self.values = start
        self._shaper.reset(start)
        self._checker.reset(start)

    def advance(self, target: Vector | None, dt_s: float) -> str:
        """Go on for ``dt_s`` >= 0 towards a bounded ``target`` [D], or to rest. Returns what is illegal, if any.

        A position that nobody knows (a gripper without feedback) starts where the policy first wants it.
        """
        if self.blocked:
            self.values = self._brake.apply(self.values)
            return ""
        if not self.known:
            if target is None:
                return ""
            known = np.where(np.isfinite(self.values), self.values, self.start)
            self._begin(np.where(np.isfinite(known), known, target))
        shaped = self._shaper.advance(dt_s, target)
        if violation := self._checker.check(shaped, dt_s):
            self.blocked = True
            self.values = self._brake.apply(self.values)
            return violation
        self.values = shaped
        return ""
