"""Quantiles of Student's t distribution with a whole number of degrees of freedom."""

from __future__ import annotations

import math

_MOST = 1e7


def two_sided(confidence: float, freedom: int) -> float:
    """The t that a variable of ``freedom`` degrees stays below, sign aside, with probability ``confidence``."""
    low, high = 0.0, _MOST
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """Probability of -t to t: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    series = 0.0
    for n in range(2 + odd, freedom + 1, 2):
        series += term
        term *= (n - 1) / n * math.cos(angle) ** 2
    return 2 / math.pi * (angle + math.sin(angle) * series) if odd else math.sin(angle) * series
