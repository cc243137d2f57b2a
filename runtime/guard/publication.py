"""When the robot is told anything: while armed, and after that until it has been at rest for a while."""

from __future__ import annotations


class Publication:
    """Zeros for a while after a stop, then nothing.

    Attributes:
        on: whether ticks give commands.
    """

    def __init__(self, rest_ns: int) -> None:
        self._rest_ns = rest_ns
        self._since_ns: int | None = None
        self.on = False

    def begin(self) -> None:
        """The robot has been armed."""
        self.on, self._since_ns = True, None

    def tick(self, resting: bool, now_ns: int) -> bool:
        """Whether publication ends now, for the robot has been ``resting`` after a stop for long enough."""
        if not self.on:
            return False
        if not resting:
            self._since_ns = None
        elif self._since_ns is None:
            self._since_ns = now_ns
        elif now_ns - self._since_ns >= self._rest_ns:
            self.on = False
            return True
        return False
