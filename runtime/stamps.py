"""From a ROS header stamp (wall clock) to the monotonic clock, across steps of the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from jetvla.runtime.clock import NS_PER_S, Clock
from jetvla.runtime.errors import CameraError

# A stamp that gives an age outside 0 to this is not a capture time on this machine's wall clock.
MAX_AGE_NS = NS_PER_S
# The wall clock is slewed by at most 500 ppm (adjtimex), so within 40 s a larger change is a step.
_STEP_NS = 20_000_000
# Stamps before 2001 come from a simulated clock that counts from zero.
_YEAR_2001_NS = 978_307_200 * NS_PER_S
_REMEDY = "set 'stamp: arrival' for this topic if that is how its publisher works"


class StampError(CameraError):
    """A header stamp is no capture time; the message says why and what to do."""


class StampConverter:
    """Converts stamps as ``stamp - (REALTIME - MONOTONIC)``.

    A step of the wall clock changes that offset while images with stamps of before are still under way, and
    a publisher on another machine may not step at all. So the offset of before is kept, and is used where the
    one of after gives an age outside 0-1 s. Where both would do, the offset of after counts: on this machine
    it is right for all images taken since, and makes those under way too old rather than too young.
    """

    def __init__(self, clock: Clock, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._wall_ns = wall_ns
        self._offset = self._before = wall_ns() - clock.now_ns()

    def to_monotonic(self, stamp_ns: int) -> int:
        """Monotonic nanoseconds of a header stamp in wall-clock nanoseconds.

        Raises:
            StampError: for a stamp that is zero, of simulated time, or gives an age outside 0-1 s.
        """
        now_ns = self._update()
        if stamp_ns < _YEAR_2001_NS:
            what = "zero" if stamp_ns == 0 else "of simulated time"
            raise StampError(f"the header stamp is {what}; {_REMEDY}")
        for offset in (self._offset, self._before):
            if 0 <= now_ns - (stamp_ns - offset) <= MAX_AGE_NS:
                return stamp_ns - offset
        age_s = (now_ns - (stamp_ns - self._offset)) / NS_PER_S
        raise StampError(
            f"the header stamp gives an age of {age_s:.3f} s, not 0 to 1; synchronise the clocks of the "
            f"machines, or {_REMEDY}"
        )

    def _update(self) -> int:
        wall_ns, now_ns = self._wall_ns(), self._clock.now_ns()
        offset = wall_ns - now_ns
        if abs(offset - self._offset) > _STEP_NS:
            self._before = self._offset
        self._offset = offset
        return now_ns


class HeaderTime:
    """When a message's content was measured: its header's stamp, or for ``arrival`` now."""

    def __init__(self, mode: Literal["header", "arrival"], clock: Clock, stamps: StampConverter | None = None) -> None:
        self._mode, self._clock = mode, clock
        self._stamps = stamps or StampConverter(clock)

    def of(self, header: Any) -> int:
        """Monotonic nanoseconds of a std_msgs/Header; StampError if it has no usable stamp."""
        if self._mode == "arrival":
            return self._clock.now_ns()
        return self._stamps.to_monotonic(header.stamp.sec * NS_PER_S + header.stamp.nanosec)
