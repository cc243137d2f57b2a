"""Percentiles of any samples, against sorting them."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from jetvla.runtime.telemetry.histogram import MAX_NS, MIN_NS, RESOLUTION, Histogram, WindowedHistogram

samples = st.lists(st.integers(MIN_NS, MAX_NS), min_size=1, max_size=300)


@settings(max_examples=100, deadline=None)
@given(samples)
def test_percentiles_are_within_the_resolution_and_never_below(values: list[int]) -> None:
    histogram = Histogram()
    for ns in values:
        histogram.record(ns)
    found = histogram.percentiles()
    ordered = sorted(values)
    for quantile, got in (("0.5", found.p50), ("0.9", found.p90), ("0.99", found.p99), ("0.999", found.p999)):
        exact = ordered[math.ceil(Fraction(quantile) * len(values)) - 1]
        assert exact <= got <= exact * (1 + RESOLUTION)
    assert (found.count, found.max) == (len(values), ordered[-1])


@settings(max_examples=50, deadline=None)
@given(st.lists(samples, min_size=1, max_size=5))
def test_a_window_is_the_last_two_periods(periods: list[list[int]]) -> None:
    window, both = WindowedHistogram(), Histogram()
    for values in periods:
        window.turn()
        for ns in values:
            window.record(ns)
    for ns in [ns for values in periods[-2:] for ns in values]:
        both.record(ns)
    assert window.percentiles() == both.percentiles()
