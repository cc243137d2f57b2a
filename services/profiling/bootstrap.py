"""Confidence intervals of ratios by the circular block bootstrap.

Neighbouring samples of a running system are alike (a busy second, a warm cache), so whole blocks of neighbours are
drawn, not single samples: Politis and Romano, "A circular block-resampling procedure for stationary data", 1992. The
length of a block grows as the cube root of the number of samples (Hall, Horowitz and Jing, Biometrika 82, 1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
# Ten stages and two percentiles each are looked at together: at 95 %, one in a comparison would differ by chance.
CONFIDENCE = 0.99
_SEED = 0
_BATCH = 50


@dataclass(frozen=True, slots=True)
class Ratio:
    """After divided by before, and the interval that holds it with :data:`CONFIDENCE`."""

    value: float
    low: float
    high: float


def ratios_of_quantiles(
    before: NDArray[np.float64], after: NDArray[np.float64], quantiles: tuple[float, ...]
) -> tuple[Ratio, ...]:
    """Of each quantile; ``before`` and ``after`` are float64 [n], in the order in which they were measured, and not 0.

    The same numbers give the same answer: the draw is seeded.
    """
    rng = np.random.default_rng(_SEED)
    drawn = _resampled(after, quantiles, rng) / _resampled(before, quantiles, rng)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail), axis=1)
    value = np.quantile(after, quantiles) / np.quantile(before, quantiles)
    return tuple(Ratio(*map(float, numbers)) for numbers in zip(value, low, high, strict=True))


def block_length(count: int) -> int:
    """Samples of a block, of ``count`` in all."""
    return max(1, round(math.pow(count, 1 / 3)))


def _resampled(
    samples: NDArray[np.float64], quantiles: tuple[float, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    """float64 [quantiles, resamples]."""
    count, length = len(samples), block_length(len(samples))
    within = np.arange(length)
    found = []
    for _ in range(0, RESAMPLES, _BATCH):
        starts = rng.integers(0, count, (_BATCH, -(-count // length)))
        places = (starts[:, :, None] + within).reshape(_BATCH, -1)[:, :count] % count
        found.append(np.quantile(samples[places], quantiles, axis=1))
    return np.concatenate(found, axis=1)
