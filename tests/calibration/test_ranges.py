from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from jetvla.calibration.ranges import BINS, LEVELS, AbsoluteHistogram


def squared_error(values: NDArray[np.float64], limit: float) -> float:
    step = limit / LEVELS
    rounded = np.clip(np.round(values / step), -LEVELS, LEVELS) * step
    return float(np.square(values - rounded).sum())


def histogram_of(*batches: NDArray[np.float32]) -> AbsoluteHistogram:
    histogram = AbsoluteHistogram()
    for batch in batches:
        histogram.add(batch)
    return histogram


@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_the_limit_is_about_as_good_as_an_exhaustive_search(seed: int, size: float) -> None:
    values = np.random.default_rng(seed).laplace(scale=size, size=4000).astype(np.float32)
    limit = histogram_of(values).mse_limit()
    exact = values.astype(np.float64)
    best = min(squared_error(exact, part * float(np.abs(exact).max())) for part in np.linspace(0.02, 1, 400))
    assert squared_error(exact, limit) <= 1.05 * best


def test_an_outlier_is_clipped_and_an_even_spread_is_not() -> None:
    even = np.linspace(-1, 1, 100_000, dtype=np.float32)
    assert histogram_of(even).mse_limit() == pytest.approx(1, rel=0.02)
    normal = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    assert histogram_of(normal, np.float32([20.0])).mse_limit() < 10


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50))
def test_nothing_is_lost_when_the_span_grows(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    histogram = histogram_of(*values[:, None])
    assert histogram.counts.sum() == len(values)
    assert histogram.counts.shape == (BINS,)
    assert histogram.largest == np.abs(values).max()
    assert histogram.span >= histogram.largest
    # Every value is in its own bin, up to the rounding of one bin edge.
    occupied = (np.flatnonzero(histogram.counts) + 0.5) * histogram.span / BINS
    for value in np.abs(values):
        assert np.abs(occupied - value).min() <= 1.01 * histogram.span / BINS


def test_the_limit_never_exceeds_what_was_seen() -> None:
    histogram = histogram_of(np.float32([1.0]), np.float32([1.1]))
    assert histogram.span == 2
    assert histogram.mse_limit() <= np.float32(1.1)


def test_zeros_alone_have_no_range() -> None:
    assert histogram_of(np.zeros(5, np.float32)).mse_limit() == 0


def test_zeros_before_the_first_number_still_count() -> None:
    assert histogram_of(np.zeros(5, np.float32), np.float32([2.0])).counts[0] == 5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        histogram_of(np.float32([1.0, bad]))
