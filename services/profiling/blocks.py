"""How long a block of neighbouring samples must be, so that blocks tell nothing of each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def automatic_length(series: NDArray[np.float64]) -> float:
    """For the circular block bootstrap of the mean of ``series``, float64 [n].

    Politis and White, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23, 2004,
    with the correction of Patton, Politis and White, 2009.
    """
    count = len(series)
    most = min(count - 1, math.ceil(math.sqrt(count)) + _quiet(count))
    centred = series - series.mean()
    covariances = np.array([centred[: count - lag] @ centred[lag:] for lag in range(most + 1)]) / count
    if covariances[0] == 0:
        return 1.0
    bandwidth = _bandwidth(covariances / covariances[0], count)
    lags = np.abs(np.arange(-bandwidth, bandwidth + 1))
    weighted = np.minimum(1, 2 * (1 - lags / bandwidth)) * covariances[lags]  # a flat top, and straight slopes
    spread, bias = weighted.sum(), (lags * weighted).sum()
    if spread <= 0:
        return 1.0
    return float((1.5 * (bias / spread) ** 2 * count) ** (1 / 3))


def _bandwidth(correlations: NDArray[np.float64], count: int) -> int:
    """Twice the lag after which correlations are no more than chance."""
    large = np.abs(correlations[1:]) >= 2 * math.sqrt(math.log10(count) / count)
    quiet = _quiet(count)
    for lag in range(len(large) - quiet + 1):
        if not large[lag : lag + quiet].any():
            return min(2 * max(lag, 1), len(large))
    return len(large)


def _quiet(count: int) -> int:
    """Lags in a row that must be without correlation."""
    return max(5, math.ceil(math.sqrt(math.log10(count))))
