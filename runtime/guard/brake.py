"""The last resort, when shaper or clock cannot be trusted: straight to rest, by ticks instead of time."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.guard.axes import Block, Vector


class Brake:
    """Slows rates down by the deceleration limit, direction kept; positions stay where they are."""

    def __init__(self, blocks: tuple[Block, ...], period_s: float) -> None:
        self._rates = tuple((b.index, b.rate.deceleration * period_s) for b in blocks if not b.absolute)

    def apply(self, values: Vector) -> Vector:
        """Values [D] one period after ``values`` [D]."""
        slowed: Vector = values.copy()
        for index, step in self._rates:
            rates = values[index]
            norm = np.sqrt(np.square(rates).sum(axis=1, keepdims=True))
            slowed[index] = rates * (np.maximum(norm - step, 0.0) / np.maximum(norm, step))
        return slowed
