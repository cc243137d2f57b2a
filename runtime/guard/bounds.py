"""Velocity, norm and range of what the policy asks for: clipped here, before any shaping in time."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.guard.axes import Block, Vector, bounds_of, norms

ROUNDING = 1e-6


class Bounds:
    """Clips requests.

    Args:
        dt_s: time step of a delta, whose range is one of changes.
        margin: excess, relative to the bound, that is clipped but not held against the policy.
    """

    def __init__(self, spec: ActionSpec, blocks: tuple[Block, ...], dt_s: float, margin: float) -> None:
        self.low, self.high = bounds_of(spec, dt_s)
        self._names = spec.names
        self._rates = tuple(b for b in blocks if not b.absolute)
        self._margin = margin
        span = np.where(np.isfinite(self.high - self.low), self.high - self.low, 1.0)
        self._tolerance = span * ROUNDING
        self._allowance = span * margin

    def clip(self, request: Vector) -> tuple[Vector, tuple[str, ...], bool]:
        """Legal target [D], names of the dimensions changed, and whether that counts against the policy.

        Each dimension is brought into its range, then each group of velocities is scaled down to its largest
        norm, keeping its direction. ``request`` must be finite.
        """
        target = np.clip(request, self.low, self.high)
        outside = np.abs(target - request)
        changed = outside > self._tolerance
        excessive = bool((outside > self._allowance).any())
        for block in self._rates:
            rates = target[block.index]
            norm = norms(rates)
            over = norm / block.rate.velocity
            target[block.index] = rates / np.maximum(over, 1.0)
            if (beyond := over > 1.0 + ROUNDING).any():
                changed[block.index] |= beyond
                excessive = excessive or bool((over > 1.0 + self._margin).any())
        names = tuple(n for n, c in zip(self._names, changed, strict=True) if c) if changed.any() else ()
        return target, names, excessive
