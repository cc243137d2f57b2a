"""Time. Everything in jetvla that waits or measures uses ``CLOCK_MONOTONIC`` nanoseconds."""

from __future__ import annotations

import time
from typing import Protocol

NS_PER_S = 1_000_000_000


def seconds_to_ns(seconds: float) -> int:
    """Whole nanoseconds nearest to ``seconds``."""
    return round(seconds * NS_PER_S)


class Clock(Protocol):
    """A source of monotonic time."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary, fixed origin; never goes back."""

    def sleep_until_ns(self, deadline_ns: int) -> None:
        """Return at ``deadline_ns`` or later; at once if it has passed."""


class MonotonicClock:
    """The machine's ``CLOCK_MONOTONIC``."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until_ns(self, deadline_ns: int) -> None:
        # A relative sleep can return early by the clock's resolution, hence the loop.
        while (left := deadline_ns - time.monotonic_ns()) > 0:
            time.sleep(left / NS_PER_S)


class FakeClock:
    """A clock that moves only when it is told to; for tests and replays."""

    def __init__(self, start_ns: int = NS_PER_S) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        self._now_ns = max(self._now_ns, deadline_ns)

    def advance(self, seconds: float) -> None:
        """Move ``seconds`` ahead. A negative value is allowed, to play a broken clock."""
        self._now_ns += seconds_to_ns(seconds)
