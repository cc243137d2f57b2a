from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from jetvla.calibration.limits import LIMITS, PERCENTILE, divergence
from jetvla.calibration.ranges import BINS, LEVELS, AbsoluteHistogram, ChannelMaxima, Method

METHODS: tuple[Method, ...] = get_args(Method)
SAMPLES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "laplace": lambda rng, size: rng.laplace(size=size),
    "heavy": lambda rng, size: rng.standard_t(3, size),
    "uniform": lambda rng, size: rng.uniform(-1, 1, size),
    "relu": lambda rng, size: np.maximum(rng.normal(size=size), 0),
    "outlier": lambda rng, size: np.append(rng.normal(size=size), 50.0),
}
# How fast the machine is does not matter.
unhurried = settings(deadline=None)
sparing = settings(deadline=None, max_examples=25)
finite = st.floats(-1e4, 1e4, width=32)
seeds = st.integers(0, 10_000)
kinds = st.sampled_from(sorted(SAMPLES))
methods = st.sampled_from(METHODS)


def sample(kind: str, seed: int, size: int = 4000) -> NDArray[np.float32]:
    return SAMPLES[kind](np.random.default_rng(seed), size).astype(np.float32)


def squared_error(values: NDArray[np.floating], limit: float) -> float:
    exact = values.astype(np.float64)
    step = limit / LEVELS
    return float(np.square(exact - np.clip(np.round(exact / step), -LEVELS, LEVELS) * step).sum())


def histogram_of(*batches: NDArray[np.float32]) -> AbsoluteHistogram:
    histogram = AbsoluteHistogram()
    for batch in batches:
        histogram.add(batch)
    return histogram


def test_every_method_has_a_limit() -> None:
    assert set(LIMITS) == set(METHODS)


# -- the histogram --


@unhurried
@given(st.lists(finite, min_size=1, max_size=50))
def test_nothing_is_lost_when_the_span_grows(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    histogram = histogram_of(*values[:, None])
    assert histogram.count == len(values)
    assert histogram.counts.shape == (BINS,)
    assert histogram.largest == np.abs(values).max()
    occupied = np.flatnonzero(histogram.counts) * histogram.width
    for value in np.abs(values.astype(np.float64)):
        assert np.any((occupied <= value) & (value < occupied + (histogram.width or 1)))


@unhurried
@given(st.lists(arrays(np.float32, st.integers(0, 20), elements=finite), min_size=1, max_size=8), st.randoms())
def test_neither_order_nor_pieces_matter(batches: list[NDArray[np.float32]], random: object) -> None:
    whole = histogram_of(np.concatenate(batches))
    random.shuffle(batches)  # type: ignore[attr-defined]
    pieces = histogram_of(*batches)
    np.testing.assert_array_equal(pieces.counts, whole.counts)
    assert (pieces.span, pieces.largest) == (whole.span, whole.largest)


@unhurried
@given(st.floats(2.0**-149, 1.5 * 2.0**127, width=32))
def test_a_bin_is_at_most_one_2048th_of_the_largest(largest: float) -> None:
    histogram = histogram_of(np.float32([largest]))
    assert largest < histogram.span
    assert histogram.width <= largest / 2048
    assert histogram.counts[int(largest / histogram.width)] == 1


def test_a_value_at_the_very_edge_of_the_span_widens_it() -> None:
    histogram = histogram_of(np.float32([1.5]), np.float32([2.0]))
    assert histogram.span == 4
    assert histogram.count == 2


def test_zeros_before_the_first_number_still_count() -> None:
    assert histogram_of(np.zeros(5, np.float32), np.float32([2.0])).counts[0] == 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_leaves_nothing(bad: float) -> None:
    histogram = histogram_of(np.float32([1.0]))
    with pytest.raises(ValueError, match="not finite"):
        histogram.add(np.float32([5.0, bad]))
    assert histogram.count == 1
    assert histogram.largest == 1


def test_the_values_given_are_not_changed() -> None:
    values = np.float32([1.0, 2.0])
    histogram_of(values)
    np.testing.assert_array_equal(values, [1, 2])


def test_memory_does_not_grow_with_what_is_added() -> None:
    batches = [sample("heavy", seed) for seed in range(50)]

    def peak(count: int) -> int:
        histogram, maxima = AbsoluteHistogram(), ChannelMaxima()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            histogram.add(batches[number % 50])
            maxima.add(batches[number % 50].reshape(-1, 40))
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        few, many = peak(50), peak(2000)
    finally:
        tracemalloc.stop()
    assert many < few + 10_000


# -- limits --


@unhurried
@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_limits_are_above_zero_and_at_most_the_largest(values: NDArray[np.float32]) -> None:
    histogram = histogram_of(values)
    for method in METHODS:
        limit = histogram.limit(method)
        assert limit == 0 if histogram.largest == 0 else 0 < limit <= histogram.largest


@pytest.mark.parametrize("method", METHODS)
def test_zeros_alone_have_no_range(method: Method) -> None:
    assert histogram_of(np.zeros(5, np.float32)).limit(method) == 0


@pytest.mark.parametrize("method", METHODS)
def test_nothing_recorded_is_an_error(method: Method) -> None:
    with pytest.raises(ValueError, match="no activation was recorded"):
        AbsoluteHistogram().limit(method)


@pytest.mark.parametrize("value", [3.0, 1e-45, 1e-40, 3.4e38])
@pytest.mark.parametrize("method", METHODS)
def test_one_value_is_its_own_limit(method: Method, value: float) -> None:
    """Down to the smallest subnormal and up to the largest float32."""
    values = np.full(10, value, np.float32)
    assert histogram_of(values).limit(method) == pytest.approx(float(values[0]), rel=1 / 2000)


@sparing
@given(methods, kinds, seeds, st.integers(-100, 100))
def test_limits_scale_with_the_data_by_powers_of_two_exactly(method: Method, kind: str, seed: int, power: int) -> None:
    values = sample(kind, seed)
    scaled = histogram_of(np.ldexp(values, power)).limit(method)
    assert scaled == histogram_of(values).limit(method) * 2.0**power


@unhurried
@given(st.sampled_from(["max", "percentile"]), kinds, seeds, st.floats(2.0**-10, 1000, width=32))
def test_max_and_percentile_scale_with_the_data_within_a_bin(method: Method, kind: str, seed: int, by: float) -> None:
    values = sample(kind, seed)
    plain, scaled = histogram_of(values), histogram_of(values * np.float32(by))
    assert scaled.limit(method) == pytest.approx(by * plain.limit(method), abs=scaled.width + by * plain.width)


@sparing
@given(kinds, seeds, st.floats(2.0**-10, 1000, width=32))
def test_scaled_data_gets_an_mse_limit_as_good(kind: str, seed: int, by: float) -> None:
    """The least error may lie at two limits that differ much, so errors are compared and not limits."""
    values = sample(kind, seed)
    scaled = histogram_of(values * np.float32(by)).limit("mse") / by
    assert squared_error(values, scaled) <= 1.02 * squared_error(values, histogram_of(values).limit("mse"))


@unhurried
@given(kinds, seeds, st.integers(500, 20_000))
def test_percentile_is_numpys_within_a_bin(kind: str, seed: int, size: int) -> None:
    values = sample(kind, seed, size)
    histogram = histogram_of(values)
    exact = float(np.quantile(np.abs(values.astype(np.float64)), PERCENTILE, method="inverted_cdf"))
    assert histogram.limit("percentile") == pytest.approx(exact, abs=histogram.width)


def test_percentile_is_interpolated_inside_its_bin() -> None:
    # All 10 000 numbers are in the bin from 1 to 1 + width; the last but one ends 9999 ten-thousandths into it.
    histogram = histogram_of(np.full(9999, 1, np.float32), np.float32([1 + 2**-12]))
    assert histogram.width == 2**-11
    assert histogram.limit("percentile") == 1 + 2**-12
    histogram.add(np.float32([1.5]))
    assert histogram.limit("percentile") == pytest.approx(1 + 2**-11 * 0.9999 * 10_001 / 10_000)


@sparing
@given(seeds, st.floats(1e-3, 1e3))
def test_mse_is_about_as_good_as_an_exhaustive_search(seed: int, size: float) -> None:
    values = sample("laplace", seed) * np.float32(size)
    largest = float(np.abs(values).max())
    best = min(squared_error(values, part * largest) for part in np.linspace(0.02, 1, 400))
    assert squared_error(values, histogram_of(values).limit("mse")) <= 1.05 * best


@pytest.mark.parametrize("seed", range(5))
def test_mse_has_less_error_than_max_on_heavy_tails(seed: int) -> None:
    values = sample("laplace", seed, 200_000)
    histogram = histogram_of(values)
    assert squared_error(values, histogram.limit("mse")) < 0.95 * squared_error(values, histogram.limit("max"))


@sparing
@given(kinds, seeds)
def test_mse_has_no_more_error_than_any_other_method(kind: str, seed: int) -> None:
    values = sample(kind, seed)
    histogram = histogram_of(values)
    errors = {method: squared_error(values, histogram.limit(method)) for method in METHODS}
    assert errors["mse"] <= 1.03 * min(errors.values())


def test_mse_clips_an_outlier_and_keeps_an_even_spread() -> None:
    even = np.linspace(-1, 1, 100_000, dtype=np.float32)
    assert histogram_of(even).limit("mse") == pytest.approx(1, rel=0.02)
    normal = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    assert histogram_of(normal, np.float32([20.0])).limit("mse") < 10


# -- entropy --


def divergence_by_hand(counts: NDArray[np.float64], kept: int) -> float:
    """The definition, bin by bin."""
    p = counts[:kept].copy()
    p[-1] += counts[kept:].sum()
    q = np.zeros(kept)
    for level in range(128):
        bins = np.arange(level * kept // 128, (level + 1) * kept // 128)
        filled = bins[counts[bins] > 0]
        q[filled] = counts[bins].sum() / max(len(filled), 1)
    if not q.any():
        return np.inf
    p, q = p / p.sum(), q / q.sum()
    q = (1 - 1e-4) * q + 1e-4 / kept
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


@sparing
@given(st.integers(129, 700), st.floats(0, 1), seeds)
def test_divergence_is_its_definition(bins: int, empty: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.where(rng.random(bins) < empty, 0, rng.integers(0, 1000, bins)).astype(np.float64)
    counts[-1] = 1
    kept = np.array([128, 129, (128 + bins) // 2, bins])
    expected = [divergence_by_hand(counts, int(k)) for k in kept]
    np.testing.assert_allclose(divergence(counts, kept), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_entropy_clips_heavy_tails_and_keeps_an_even_spread(seed: int) -> None:
    heavy, even = histogram_of(sample("heavy", seed, 100_000)), histogram_of(sample("uniform", seed, 100_000))
    assert heavy.limit("entropy") < 0.6 * heavy.largest
    assert even.limit("entropy") > 0.98 * even.largest


def test_entropy_clips_what_a_single_outlier_stretched() -> None:
    histogram = histogram_of(sample("outlier", 0, 100_000))
    assert histogram.limit("max") == 50
    assert 2.5 < histogram.limit("entropy") < 5


def test_entropy_searches_every_bin_edge() -> None:
    """Its limit has the least divergence of all edges by the definition, and moves with the data."""
    limits = set()
    for seed in range(4):
        histogram = histogram_of(sample("heavy", seed, 3000))
        counts = histogram.counts[: int(histogram.largest / histogram.width) + 1].astype(np.float64)
        counts[0] = counts[1]
        kept = round(histogram.limit("entropy") / histogram.width)
        chosen = divergence_by_hand(counts, kept)
        assert all(chosen <= divergence_by_hand(counts, other) + 1e-12 for other in range(128, len(counts), 41))
        limits.add(kept)
    assert len(limits) == 4


def test_many_zeros_do_not_decide_the_entropy_limit() -> None:
    values = np.abs(sample("normal", 0, 50_000))
    zeros = np.zeros(500_000, np.float32)
    assert histogram_of(values, zeros).limit("entropy") == histogram_of(values).limit("entropy")


# -- per-channel maxima --


@unhurried
@given(arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4)), elements=finite))
def test_channel_maxima_are_those_of_all_rows(values: NDArray[np.float32]) -> None:
    maxima = ChannelMaxima()
    for piece in values:
        maxima.add(piece)
    assert maxima.largest is not None
    assert maxima.largest.dtype == np.float32
    np.testing.assert_array_equal(maxima.largest, np.abs(values).max(axis=(0, 1)))


def test_channel_maxima_refuse_another_width_and_what_is_not_finite() -> None:
    maxima = ChannelMaxima()
    assert maxima.largest is None
    maxima.add(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"must be \[..., 3\], not \[2, 4\]"):
        maxima.add(np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        maxima.add(np.float32([[1, 2, np.nan]]))
    with pytest.raises(ValueError, match=r"\[\]"):
        ChannelMaxima().add(np.float32(1))  # type: ignore[arg-type]
    np.testing.assert_array_equal(maxima.largest, [1, 1, 1])
