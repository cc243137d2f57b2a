"""Says whether the robot did what was asked."""

from __future__ import annotations

from jetvla.runtime.clock import NS_PER_S, seconds_to_ns

REACH_M = 0.03
DWELL_S = 0.5
LIMIT_S = 10.0


class Judge:
    """Reached means: within 3 cm of the named block for 0.5 s without a break, inside 10 s.

    Args:
        t_ns: when the attempt starts.
    """

    def __init__(self, t_ns: int) -> None:
        self._start_ns = t_ns
        self._near_since_ns: int | None = None
        self._reached_ns: int | None = None
        self._closest = float("inf")
        self._now_ns = t_ns

    def see(self, distance: float, t_ns: int) -> None:
        """Note that the gripper was ``distance`` metres from the block at ``t_ns``; 20 Hz or more."""
        if self.over:
            return
        self._now_ns = t_ns
        self._closest = min(self._closest, distance)
        if distance > REACH_M:
            self._near_since_ns = None
            return
        if self._near_since_ns is None:
            self._near_since_ns = t_ns
        in_time = t_ns - self._start_ns <= seconds_to_ns(LIMIT_S)
        if in_time and t_ns - self._near_since_ns >= seconds_to_ns(DWELL_S):
            self._reached_ns = t_ns

    @property
    def reached(self) -> bool:
        """Whether the block has been reached."""
        return self._reached_ns is not None

    @property
    def over(self) -> bool:
        """Whether nothing can change any more: reached, or out of time."""
        return self.reached or self._now_ns - self._start_ns > seconds_to_ns(LIMIT_S)

    @property
    def seconds(self) -> float:
        """From the start until reached, or until last seen."""
        return ((self._reached_ns or self._now_ns) - self._start_ns) / NS_PER_S

    @property
    def closest(self) -> float:
        """The smallest distance seen, metres; infinite before the first."""
        return self._closest
