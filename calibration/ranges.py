"""Ranges of activations, from statistics whose memory does not grow with the number of samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.limits import LEVELS, LIMITS, Magnitudes, Method

__all__ = ["BINS", "LEVELS", "AbsoluteHistogram", "ChannelMaxima", "Method"]

BINS = 4096


class AbsoluteHistogram:
    """Counts of |x| in :data:`BINS` equal bins from 0; 32 KiB however many numbers are added.

    The span is the smallest power of two above the largest |x|, and doubling it merges bins in pairs. So the counts
    are exactly those of all the numbers at once, in whatever order and pieces they came, and a bin is at most
    1/2048 of the largest |x|.

    Attributes:
        counts: int64 [BINS].
        span: upper edge of the last bin, which is above ``largest``; 0 until a value other than 0 was seen.
        largest: largest |x| seen.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.span = 0.0
        self.largest = 0.0

    @property
    def count(self) -> int:
        """How many numbers were added."""
        return int(self.counts.sum())

    @property
    def width(self) -> float:
        """Width of one bin."""
        return self.span / BINS

    def add(self, values: NDArray[np.float32]) -> None:
        """Count every number of ``values``; ValueError if one is not finite, and then none was counted."""
        magnitudes = np.abs(np.asarray(values, np.float32)).ravel()
        top = float(magnitudes.max(initial=0.0))
        if not math.isfinite(top):
            raise ValueError("an activation is not finite")
        self.largest = max(self.largest, top)
        if top > 0.0:
            self._widen(top)
        if self.span == 0.0:
            self.counts[0] += magnitudes.size
            return
        # x * BINS / span in two exact steps: for the smallest and largest spans one factor would leave float32.
        shift = 1 - math.frexp(self.width)[1]
        magnitudes *= np.float32(2.0 ** (shift // 2))
        magnitudes *= np.float32(2.0 ** (shift - shift // 2))
        self.counts += np.bincount(magnitudes.astype(np.intp), minlength=BINS)

    def _widen(self, top: float) -> None:
        if self.span == 0.0:
            self.span = 2.0 ** math.frexp(top)[1]
        while self.span <= top:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
            self.span *= 2

    def limit(self, method: Method) -> float:
        """Where to clip by ``method`` (see :mod:`jetvla.calibration.limits`): above 0, at most ``largest``.

        0 if nothing but zeros was seen; ValueError if nothing was.
        """
        if not self.counts.any():
            raise ValueError("no activation was recorded, so it has no range")
        if self.largest == 0.0:
            return 0.0
        used = int(self.largest / self.width) + 1
        return min(LIMITS[method](Magnitudes(self.counts[:used], self.width, self.largest)), self.largest)


class ChannelMaxima:
    """The largest |x| of every channel (last axis); 4 bytes per channel however many numbers are added.

    Attributes:
        largest: float32 [C]; None until values were added.
    """

    def __init__(self) -> None:
        self.largest: NDArray[np.float32] | None = None

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in ``values`` [..., C]; ValueError if one is not finite, or C is not what it was before."""
        values = np.asarray(values, np.float32)
        if values.ndim == 0 or (self.largest is not None and values.shape[-1] != len(self.largest)):
            expected = "[..., C]" if self.largest is None else f"[..., {len(self.largest)}]"
            raise ValueError(f"an activation must be {expected}, not {list(values.shape)}")
        rows = values.reshape(-1, values.shape[-1])
        # Two maxima need no copy of the magnitudes.
        top = np.maximum(rows.max(axis=0, initial=0.0), -rows.min(axis=0, initial=0.0))
        if not np.isfinite(top).all():
            raise ValueError("an activation is not finite")
        self.largest = top if self.largest is None else np.maximum(self.largest, top)
