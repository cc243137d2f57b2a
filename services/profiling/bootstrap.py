"""Confidence intervals of ratios by the circular block bootstrap.

Neighbouring samples of a running system are alike (a busy second, a warm cache), so whole blocks of neighbours are
drawn, not single samples: Politis and Romano, "A circular block-resampling procedure for stationary data", 1992. A
block is at least a second of the run, and longer where the samples say that they are alike for longer.

The interval is that of a mean of so many blocks: the logarithm of the ratio, give or take Student's t times its
standard deviation over the resamples. Quantiles of the resamples themselves would be too narrow: ten blocks have no
tail of 0.1 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.services.profiling.blocks import automatic_length
from jetvla.services.profiling.student import two_sided

RESAMPLES = 400
# Of all intervals of a comparison together.
CONFIDENCE = 0.99
BLOCK_S = 1.0
MIN_BLOCKS = 10
# A p99 rests on the few blocks that reach above it: one busy second of a run is no property of what was measured.
MIN_BLOCKS_ABOVE = 5
_SEED = 0
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Run:
    """Samples of one run: float64 [n], above 0, in the order in which they were measured; how many came a second, or
    None if each is taken for a block of its own."""

    samples: NDArray[np.float64]
    per_second: float | None


@dataclass(frozen=True, slots=True)
class Ratio:
    """After divided by before, and the interval that holds it with the confidence that was asked for."""

    value: float
    low: float
    high: float


def ratio_of_quantiles(before: Run, after: Run, quantile: float, confidence: float) -> Ratio | None:
    """None with fewer than :data:`MIN_BLOCKS` blocks, or :data:`MIN_BLOCKS_ABOVE` that reach above the quantile.

    The same numbers give the same answer: the draw is seeded.
    """
    lengths = [block_length(run, quantile) for run in (before, after)]
    if any(len(run.samples) < MIN_BLOCKS * length for run, length in zip((before, after), lengths, strict=True)):
        return None
    rng = np.random.default_rng(_SEED)
    found = [_spread(run.samples, quantile, n, rng) for run, n in zip((before, after), lengths, strict=True)]
    blocks = min(above for _, _, above in found)
    if blocks < MIN_BLOCKS_ABOVE:
        return None
    (one, one_spread, _), (two, two_spread, _) = found
    reach = two_sided(confidence, blocks - 1) * math.hypot(one_spread, two_spread)
    return Ratio(math.exp(two - one), math.exp(two - one - reach), math.exp(two - one + reach))


def block_length(run: Run, quantile: float) -> int:
    """Samples of a block: as many as keep together what is alike, in the middle of the samples as at ``quantile``."""
    if run.per_second is None:
        return 1
    sides = (run.samples <= np.quantile(run.samples, q) for q in {0.5, quantile})
    automatic = max(automatic_length(side.astype(np.float64)) for side in sides)
    # Ten blocks of a second are in a run of ten seconds, although the last sample of it may have come too late.
    return max(1, math.ceil(automatic), math.floor(BLOCK_S * run.per_second))


def _spread(
    samples: NDArray[np.float64], quantile: float, length: int, rng: np.random.Generator
) -> tuple[float, float, int]:
    """Logarithm of the quantile, its standard deviation, and how many blocks reach above it."""
    value = np.quantile(samples, quantile)
    above = len(np.unique(np.flatnonzero(samples >= value) // length))
    drawn = np.log(_resampled(samples, quantile, length, rng))
    return math.log(value), float(drawn.std(ddof=1)), above


def _resampled(
    samples: NDArray[np.float64], quantile: float, length: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """float64 [resamples]."""
    count, within = len(samples), np.arange(length)
    found = []
    for _ in range(0, RESAMPLES, _BATCH):
        starts = rng.integers(0, count, (_BATCH, -(-count // length)))
        places = (starts[:, :, None] + within).reshape(_BATCH, -1)[:, :count] % count
        found.append(np.quantile(samples[places], quantile, axis=1))
    return np.concatenate(found)
