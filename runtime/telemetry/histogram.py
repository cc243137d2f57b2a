"""Durations from 1 µs to 100 s in fixed memory, at a resolution of 1/128.

Log-linear: every octave is cut into 128 equal bins, so a bin is at most 0.8 % wide. The bin of a duration
is its position of the highest bit and the seven bits below it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_NS = 1_000
MAX_NS = 100_000_000_000
RESOLUTION = 1 / 128

_BITS = 7
_FIRST = ((MIN_NS.bit_length() - 1 - _BITS) << _BITS) + (MIN_NS >> (MIN_NS.bit_length() - 1 - _BITS))
_SHIFT = MAX_NS.bit_length() - 1 - _BITS
_BINS = (_SHIFT << _BITS) + (MAX_NS >> _SHIFT) - _FIRST + 1


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Nanoseconds; each at most 1/128 above the exact value and never below, ``max`` exact. All 0 without
    samples.
    """

    count: int
    p50: int
    p90: int
    p99: int
    p999: int
    max: int


class Histogram:
    """Counts durations. Below 1 µs counts as 1 µs; above 100 s as 100 s, but ``max`` stays exact."""

    def __init__(self) -> None:
        # An array counts faster than numpy does; numpy reads the same memory.
        self._counts = array("q", bytes(8 * _BINS))
        self.max_ns = 0

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 [bins], the live counts."""
        return np.frombuffer(self._counts, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        return 8 * _BINS

    def record(self, ns: int) -> None:
        """Count one duration."""
        if ns > self.max_ns:
            self.max_ns = ns
        if not MIN_NS <= ns <= MAX_NS:
            ns = MIN_NS if ns < MIN_NS else MAX_NS
        shift = ns.bit_length() - 1 - _BITS
        self._counts[(shift << _BITS) + (ns >> shift) - _FIRST] += 1

    def clear(self) -> None:
        """Forget everything."""
        self.counts[:] = 0
        self.max_ns = 0

    def percentiles(self) -> Percentiles:
        """Of everything since the last :meth:`clear`."""
        return percentiles(self.counts, self.max_ns)


class WindowedHistogram:
    """The last one to two periods: two histograms take turns, and each turn empties the older one."""

    def __init__(self) -> None:
        self._now, self._before = Histogram(), Histogram()

    def record(self, ns: int) -> None:
        """Count one duration."""
        self._now.record(ns)

    def turn(self) -> None:
        """A period is over: what is older than it is forgotten."""
        self._now, self._before = self._before, self._now
        self._now.clear()

    def percentiles(self) -> Percentiles:
        """Of this period and the one before."""
        counts = self._now.counts + self._before.counts
        return percentiles(counts, max(self._now.max_ns, self._before.max_ns))


def percentiles(counts: NDArray[np.int64], max_ns: int) -> Percentiles:
    """Of int64 [bins] counts and the largest duration among them.

    The q-th percentile is the smallest value that at least q of the samples do not exceed.
    """
    below = np.cumsum(counts)
    total = int(below[-1])
    if total == 0:
        return Percentiles(0, 0, 0, 0, 0, 0)
    # In thousandths, for 0.999 * n in floating point can round across a whole number.
    ranks = np.array([-(-total * q // 1000) for q in (500, 900, 990, 999)])
    p50, p90, p99, p999 = (min(_upper_edge(int(i)), max_ns) for i in np.searchsorted(below, ranks))
    return Percentiles(total, p50, p90, p99, p999, max_ns)


def _upper_edge(index: int) -> int:
    """Largest duration that falls into the bin."""
    code = index + _FIRST
    shift = (code >> _BITS) - 1
    return ((code - (shift << _BITS) + 1) << shift) - 1
