"""Ranges of activations, from histograms whose memory does not grow with the number of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 4096
# Symmetric INT8 uses -127..127.
LEVELS = 127
_CANDIDATES = 128


class AbsoluteHistogram:
    """Counts of |x| in :data:`BINS` equal bins from 0; the span doubles when a larger value comes.

    Attributes:
        counts: int64 [BINS].
        span: upper edge of the last bin; 0 until a value other than 0 was seen.
        largest: largest |x| seen.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.span = 0.0
        self.largest = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count every number of ``values``; ValueError if one is not finite."""
        magnitudes = np.abs(np.asarray(values, np.float32)).ravel()
        top = float(magnitudes.max(initial=0.0))
        if not np.isfinite(top):
            raise ValueError("an activation is not finite")
        self.largest = max(self.largest, top)
        self._widen(top)
        if self.span == 0.0:
            self.counts[0] += magnitudes.size
            return
        bins = np.minimum((magnitudes / np.float32(self.span) * BINS).astype(np.int64), BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    def _widen(self, top: float) -> None:
        if self.span == 0.0:
            self.span = top
        while self.span < top:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
            self.span *= 2

    def mse_limit(self) -> float:
        """The clipping limit whose INT8 rounding and clipping together have the least mean squared error.

        Tries limits from 1/128 of the span to all of it. 0 if nothing but zeros was seen.
        """
        if self.span == 0.0:
            return 0.0
        centres = (np.arange(BINS) + 0.5) * (self.span / BINS)
        limits = np.minimum(np.arange(1, _CANDIDATES + 1) * (self.span / _CANDIDATES), self.largest)
        errors = [self._squared_error(centres, limit) for limit in limits]
        return float(limits[int(np.argmin(errors))])

    def _squared_error(self, centres: NDArray[np.floating], limit: float) -> float:
        step = limit / LEVELS
        rounded = np.minimum(np.round(centres / step), LEVELS) * step
        return float(self.counts @ np.square(centres - rounded))
