"""The gripper's motion: it follows a commanded velocity, stops without one, and stays over the table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.clock import NS_PER_S, seconds_to_ns

COMMAND_TIMEOUT_S = 0.25
WORKSPACE_HALF_M = 0.20
RESPONSE_S = 0.05  # time constant of the velocity loop
_STEP_S = 0.005

Pair = NDArray[np.float64]


class Plant:
    """A gripper that hovers at a fixed height and is driven in the plane.

    Args:
        start: first position (x, y), metres.
        t_ns: time of that position.
    """

    def __init__(self, start: tuple[float, float], t_ns: int = 0) -> None:
        self._position: Pair = np.array(start, dtype=np.float64)
        self._velocity: Pair = np.zeros(2)
        self._wanted: Pair = np.zeros(2)
        self._closed = 0.0
        self._commanded_ns = t_ns
        self._t_ns = t_ns

    @property
    def position(self) -> tuple[float, float]:
        """(x, y), metres."""
        return float(self._position[0]), float(self._position[1])

    @property
    def velocity(self) -> tuple[float, float]:
        """(x, y), metres per second."""
        return float(self._velocity[0]), float(self._velocity[1])

    @property
    def closed(self) -> float:
        """The jaws: 0 open, 1 closed."""
        return self._closed

    def command(self, velocity: tuple[float, float], t_ns: int) -> None:
        """Ask for ``velocity`` (x, y) in m/s from now on; one that is not finite counts as zero."""
        wanted = np.array(velocity, dtype=np.float64)
        self._wanted = wanted if np.isfinite(wanted).all() else np.zeros(2)
        self._commanded_ns = t_ns

    def grip(self, closed: float) -> None:
        """Set the jaws, 0 open to 1 closed; values outside are clipped and NaN is ignored."""
        if np.isfinite(closed):
            self._closed = float(np.clip(closed, 0.0, 1.0))

    def advance(self, t_ns: int) -> None:
        """Move on to time ``t_ns``. Without a command for :data:`COMMAND_TIMEOUT_S` the gripper stops."""
        deadline = self._commanded_ns + seconds_to_ns(COMMAND_TIMEOUT_S)
        while self._t_ns < t_ns:
            step_ns = min(seconds_to_ns(_STEP_S), t_ns - self._t_ns)
            self._t_ns += step_ns
            self._follow(self._wanted if self._t_ns <= deadline else np.zeros(2), step_ns / NS_PER_S)

    def _follow(self, wanted: Pair, dt: float) -> None:
        self._velocity += (wanted - self._velocity) * -np.expm1(-dt / RESPONSE_S)
        moved = self._position + self._velocity * dt
        self._position = np.clip(moved, -WORKSPACE_HALF_M, WORKSPACE_HALF_M)
        self._velocity[self._position != moved] = 0.0
