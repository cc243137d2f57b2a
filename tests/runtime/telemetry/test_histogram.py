"""The histogram against exact percentiles."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from jetvla.runtime.telemetry.histogram import (
    MAX_NS,
    MIN_NS,
    RESOLUTION,
    Histogram,
    Percentiles,
    WindowedHistogram,
)


def record(histogram: Histogram | WindowedHistogram, *samples: int) -> None:
    for ns in samples:
        histogram.record(ns)


def test_resolution_is_below_one_percent_and_memory_below_32_kib() -> None:
    assert RESOLUTION <= 0.01
    assert Histogram().nbytes < 32 * 1024
    assert Histogram().counts.dtype == np.int64


def test_nothing_recorded() -> None:
    assert Histogram().percentiles() == Percentiles(0, 0, 0, 0, 0, 0)
    assert WindowedHistogram().percentiles() == Percentiles(0, 0, 0, 0, 0, 0)


def test_one_sample_is_exact() -> None:
    histogram = Histogram()
    histogram.record(123_456)
    assert histogram.percentiles() == Percentiles(1, *[123_456] * 5)


@pytest.mark.parametrize("ns", [MIN_NS, 1_023, 1_024, 1_031, 1_032, 65_535, 65_536, 10**9, MAX_NS - 1, MAX_NS])
def test_every_duration_falls_into_a_bin_that_is_no_wider_than_the_resolution(ns: int) -> None:
    histogram = Histogram()
    record(histogram, ns, 10 * MAX_NS)
    p50 = histogram.percentiles().p50
    assert ns <= p50 <= ns * (1 + RESOLUTION)


def test_bins_are_filled_one_after_the_other() -> None:
    histogram = Histogram()
    edges = {int(np.flatnonzero(c)[0]) for c in map(counts_of, range(MIN_NS, 20_000))}
    assert edges == set(range(min(edges), max(edges) + 1))
    assert min(edges) == 0
    assert int(np.flatnonzero(counts_of(MAX_NS))[0]) == len(histogram.counts) - 1


def counts_of(ns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    histogram = Histogram()
    histogram.record(ns)
    return histogram.counts


@pytest.mark.parametrize("ns", [-5, 0, 1, 999])
def test_too_short_counts_as_the_shortest(ns: int) -> None:
    histogram = Histogram()
    record(histogram, ns, 10**6)
    assert histogram.counts[0] == 1
    assert histogram.percentiles().count == 2


def test_too_long_counts_as_the_longest_and_its_maximum_is_exact() -> None:
    histogram = Histogram()
    histogram.record(5 * MAX_NS)
    assert histogram.counts[-1] == 1
    assert histogram.percentiles().max == 5 * MAX_NS


@pytest.mark.parametrize("count", [1, 2, 10, 999, 1000, 1001, 5000])
def test_percentiles_are_those_of_the_sorted_samples(count: int) -> None:
    samples = np.random.default_rng(count).lognormal(13, 2, count).astype(np.int64)
    samples = np.clip(samples, MIN_NS, MAX_NS)
    histogram = Histogram()
    record(histogram, *samples.tolist())
    found = histogram.percentiles()
    exact = [np.sort(samples)[math.ceil(Fraction(q) * count) - 1] for q in ("0.5", "0.9", "0.99", "0.999")]
    for got, want in zip((found.p50, found.p90, found.p99, found.p999), exact, strict=True):
        assert want <= got <= want * (1 + RESOLUTION)
    assert (found.count, found.max) == (count, samples.max())


def test_clear() -> None:
    histogram = Histogram()
    record(histogram, 5_000, 6_000)
    histogram.clear()
    assert histogram.percentiles() == Percentiles(0, 0, 0, 0, 0, 0)
    histogram.record(7_000)
    assert histogram.percentiles().max == 7_000


def test_a_window_forgets_what_is_older_than_a_period() -> None:
    window = WindowedHistogram()
    record(window, 10**9)
    window.turn()
    record(window, 10**6)
    assert (window.percentiles().count, window.percentiles().max) == (2, 10**9)
    window.turn()
    assert (window.percentiles().count, window.percentiles().max) == (1, 10**6)
    window.turn()
    assert window.percentiles().count == 0
