"""How many times one way's samples are another's, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRAWS = 4000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Ratio:
    """Median over median; ``low`` and ``high`` bound the middle 95 % of a bootstrap (Efron 1979)."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        """Median of ``above`` over that of ``below``; NaN where either has no sample."""
        if not above or not below:
            return cls(np.nan, np.nan, np.nan)
        rng = np.random.default_rng(0)
        drawn = _medians(np.array(above), rng) / _medians(np.array(below), rng)
        low, high = (float(value) for value in np.percentile(drawn, _PERCENTILES))
        return cls(float(np.median(above) / np.median(below)), low, high)


def _medians(samples: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    medians: NDArray[np.float64] = np.median(rng.choice(samples, (_DRAWS, len(samples))), axis=1)
    return medians
