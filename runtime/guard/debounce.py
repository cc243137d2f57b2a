"""A gripper opens and closes when several requests agree, not when one flickers."""

from __future__ import annotations

from collections import deque

import numpy as np

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.limits import Limits


class Debounce:
    """Follows ``gripper_votes`` of the last ``gripper_window`` requests of every gripper dimension.

    The value moves up to the highest level that enough requests reach, or down to the lowest that enough stay
    below; else it stays. For 3 of 5 that is the median, so it also holds for a gripper that is half open. What
    came before the first request counts as requests for the position where the gripper was.
    """

    def __init__(self, spec: ActionSpec, limits: Limits) -> None:
        self._index = np.flatnonzero([d.quantity == "gripper" for d in spec.dimensions])
        self._votes = limits.gripper_votes
        self._window = limits.gripper_window
        self._requests: deque[Vector] = deque(maxlen=self._window)
        self._serial: tuple[int, int] | None = None
        self._value: Vector = np.full(len(self._index), np.nan)

    def reset(self, start: Vector) -> None:
        """Begin where the grippers are: float64 [D], NaN where that is not known."""
        self._value = start[self._index]
        self._serial = None
        self._requests.clear()

    def apply(self, values: Vector, serial: tuple[int, int]) -> Vector:
        """``values`` [D], finite, with debounced grippers. Ticks of the same ``serial`` are one request."""
        if not len(self._index):
            return values
        wanted = values[self._index]
        if not self._requests:
            self._value = np.where(np.isfinite(self._value), self._value, wanted)
            self._requests.extend([self._value] * self._window)
        if serial == self._serial:
            self._requests.pop()
        self._serial = serial
        self._requests.append(wanted)
        ordered = np.sort(self._requests, axis=0)
        self._value = np.clip(self._value, ordered[-self._votes], ordered[self._votes - 1])
        debounced: Vector = values.copy()
        debounced[self._index] = self._value
        return debounced
