"""Where an INT8 range is clipped: four methods, each from a histogram of magnitudes.

``max`` clips nothing. ``percentile`` clips the largest 0.01 % of the numbers. ``mse`` takes the least squared error
of rounding and clipping together. ``entropy`` keeps the distribution closest to what it was: Migacz, "8-bit
Inference with TensorRT", GTC 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Symmetric INT8 uses -127..127.
LEVELS = 127
# Share of the numbers that method ``percentile`` does not clip.
PERCENTILE = 0.9999
Method = Literal["mse", "max", "percentile", "entropy"]

_MSE_CANDIDATES = 128
# Magnitudes that the entropy search tells apart, as in TensorRT: 128 for INT8.
_ENTROPY_LEVELS = 128
# Part of the quantized distribution that is spread evenly over all bins. Without it the divergence of a candidate
# whose last bin was empty before the outliers came would be infinite.
_SMOOTHING = 1e-4


class Magnitudes(NamedTuple):
    """What is known of the |x| of one tensor; not all are 0.

    Attributes:
        counts: int64 [N], in equal bins from 0; the last one holds ``largest``. N is above 128.
        width: of one bin.
        largest: largest |x|.
    """

    counts: NDArray[np.int64]
    width: float
    largest: float


def max_limit(seen: Magnitudes) -> float:
    """The largest magnitude."""
    return seen.largest


def percentile_limit(seen: Magnitudes) -> float:
    """The magnitude that :data:`PERCENTILE` of the numbers do not exceed, interpolated inside its bin."""
    below = np.cumsum(seen.counts)
    wanted = PERCENTILE * float(below[-1])
    index = int(np.searchsorted(below, wanted))
    inside = 1 - (float(below[index]) - wanted) / float(seen.counts[index])
    return (index + inside) * seen.width


def mse_limit(seen: Magnitudes) -> float:
    """The best of 128 limits, evenly spaced up to ``largest``, by the squared error at the centres of the bins."""
    filled = np.flatnonzero(seen.counts)
    centres = np.minimum((filled + 0.5) * seen.width, seen.largest)
    limits = np.arange(1, _MSE_CANDIDATES + 1) * (seen.largest / _MSE_CANDIDATES)
    steps = (limits / LEVELS)[:, None]
    errors = np.minimum(np.rint(centres / steps), LEVELS) * steps - centres
    return float(limits[np.argmin(np.square(errors) @ seen.counts[filled])])


def entropy_limit(seen: Magnitudes) -> float:
    """The limit, of all bin edges from 128 bins up, with the least :func:`divergence`.

    The first bin holds the zeros and whatever INT8 rounds to 0. These lose nothing whatever the limit, yet many of
    them would outweigh all else; so it counts as much as its neighbour, as in NVIDIA's pytorch-quantization.
    """
    counts = seen.counts.astype(np.float64)
    counts[0] = counts[1]
    kept = np.arange(_ENTROPY_LEVELS, len(counts) + 1)
    return float(kept[np.argmin(divergence(counts, kept))]) * seen.width


def divergence(counts: NDArray[np.float64], kept: NDArray[np.int64]) -> NDArray[np.float64]:
    """KL(P, Q) in nats, for each number of ``kept`` bins; inf where these are all empty.

    P is the histogram clipped to ``kept`` bins, with all that was clipped in the last of them. Q are the same bins
    without what was clipped, merged into 128 levels; each level is then spread evenly over those of its bins that
    were not empty, and :data:`_SMOOTHING` of Q over all bins.

    Inside a level all filled bins have one q, so the sum of p log q over bins is one over levels, and prefix sums
    give each level's: 128 terms per candidate instead of one for every bin.

    Args:
        counts: float64 [N], at least one above 0.
        kept: int64 [K], each from 128 to N.
    """
    total = counts.sum()
    mass, plogp, filled = _prefix(counts), _prefix(_xlogx(counts / total)), _prefix(counts > 0)
    edges = kept[:, None] * np.arange(_ENTROPY_LEVELS + 1) // _ENTROPY_LEVELS
    level_mass, level_filled = np.diff(mass[edges]), np.diff(filled[edges])
    inside, even = mass[kept], _SMOOTHING / kept
    share = (1 - _SMOOTHING) / np.maximum(inside, 1)
    q = level_mass / np.maximum(level_filled, 1) * share[:, None] + even[:, None]
    own, last = counts[kept - 1] / total, (counts[kept - 1] + total - inside) / total
    last_q = np.where(own > 0, q[:, -1], even)
    plogq = (level_mass * np.log(q)).sum(axis=1) / total - own * np.log(q[:, -1]) + last * np.log(last_q)
    found = plogp[kept] - _xlogx(own) + _xlogx(last) - plogq
    return np.where(inside > 0, found, np.inf)


def _prefix(values: NDArray[Any]) -> NDArray[np.float64]:
    """Sums of the first 0, 1, ... N ``values``."""
    return np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])


def _xlogx(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * np.log(np.where(values > 0, values, 1.0))


LIMITS: dict[Method, Callable[[Magnitudes], float]] = {
    "mse": mse_limit,
    "max": max_limit,
    "percentile": percentile_limit,
    "entropy": entropy_limit,
}
