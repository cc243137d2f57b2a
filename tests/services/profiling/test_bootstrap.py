"""Noise is not called a difference, also where neighbouring samples are alike; what is planted in it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.services.profiling.blocks import automatic_length
from jetvla.services.profiling.bootstrap import CONFIDENCE, Ratio, Run, block_length, ratio_of_quantiles
from jetvla.services.profiling.comparison import judged
from jetvla.services.profiling.student import two_sided

RATE_HZ, SECONDS, PAIRS = 30, 40, 60
# As of ten stages, their medians and p99s.
EACH = 1 - (1 - CONFIDENCE) / 20

Samples = NDArray[np.float64]
Noise = Callable[[np.random.Generator], Samples]


def called(ratio: Ratio | None) -> str:
    """Of milliseconds enough."""
    return judged(ratio, math.inf)


def wandering(rng: np.random.Generator, tau_s: float) -> Samples:
    """Milliseconds whose logarithm is an autoregressive process that forgets within ``tau_s``."""
    kept = math.exp(-1 / (tau_s * RATE_HZ))
    x, found = 0.0, []
    for shock in rng.normal(0, math.sqrt(1 - kept**2), 20 * RATE_HZ + SECONDS * RATE_HZ):
        x = kept * x + shock
        found.append(x)
    return np.asarray(10 * np.exp(0.3 * np.array(found[20 * RATE_HZ :]) + 0.05 * rng.normal(size=SECONDS * RATE_HZ)))


def busy(rng: np.random.Generator, share: float) -> Samples:
    """Whole seconds take twice as long."""
    seconds = np.repeat(np.where(rng.random(SECONDS) < share, 2.0, 1.0), RATE_HZ)
    return np.asarray(10 * seconds * np.exp(0.1 * rng.normal(size=SECONDS * RATE_HZ)))


NOISES: dict[str, Noise] = {
    "alike for half a second": lambda rng: wandering(rng, 0.5),
    "alike for a second": lambda rng: wandering(rng, 1.0),
    "a fifth busy": lambda rng: busy(rng, 0.2),
    "half busy": lambda rng: busy(rng, 0.5),
}


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_not_called_a_difference(noise: str) -> None:
    """With blocks of the cube root of the samples, a third of a second, up to half of such pairs were."""
    false = told = 0
    for seed in range(PAIRS):
        rng = np.random.default_rng(seed)
        ratio = ratio_of_quantiles(*(Run(NOISES[noise](rng), RATE_HZ) for _ in range(2)), 0.5, EACH)
        told += ratio is not None
        false += called(ratio) != "no difference seen"
    assert false <= 2
    assert told >= 0.8 * PAIRS


@pytest.mark.parametrize("noise", NOISES)
def test_noise_does_not_hide_twenty_milliseconds(noise: str) -> None:
    rng = np.random.default_rng(0)
    before, after = NOISES[noise](rng), NOISES[noise](rng) + 20
    assert called(ratio_of_quantiles(Run(before, RATE_HZ), Run(after, RATE_HZ), 0.5, EACH)) == "slower"
    assert called(ratio_of_quantiles(Run(after, RATE_HZ), Run(before, RATE_HZ), 0.5, EACH)) == "faster"


def test_the_same_numbers_give_the_same_interval_around_their_ratio() -> None:
    before, after = (Run(wandering(np.random.default_rng(seed), 0.1), RATE_HZ) for seed in (1, 2))
    ratio = ratio_of_quantiles(before, after, 0.5, EACH)
    assert ratio is not None
    assert ratio.low < ratio.value < ratio.high
    assert ratio.value == pytest.approx(np.median(after.samples) / np.median(before.samples))
    assert ratio == ratio_of_quantiles(before, after, 0.5, EACH)


def test_one_busy_second_is_no_tail() -> None:
    """The p99 of 40 s lies within it; nobody knows whether the next run has one."""
    calm = 10 * np.exp(0.1 * np.random.default_rng(0).normal(size=SECONDS * RATE_HZ))
    stalled = calm.copy()
    stalled[300 : 300 + RATE_HZ] += 50
    assert ratio_of_quantiles(Run(calm, RATE_HZ), Run(stalled, RATE_HZ), 0.99, EACH) is None
    assert ratio_of_quantiles(Run(calm, RATE_HZ), Run(calm, RATE_HZ), 0.99, EACH) is not None


def test_a_block_is_a_second_at_least_and_longer_where_samples_are_alike_for_longer() -> None:
    alone = Run(np.random.default_rng(0).random(1200) + 1, RATE_HZ)
    assert block_length(alone, 0.5) == RATE_HZ
    alike = Run(wandering(np.random.default_rng(0), 3.0), RATE_HZ)
    assert block_length(alike, 0.5) > 2 * RATE_HZ
    assert ratio_of_quantiles(Run(alone.samples[:299], RATE_HZ), alone, 0.5, EACH) is None


def test_what_is_read_in_a_moment_has_a_block_for_each_sample() -> None:
    alike = Run(wandering(np.random.default_rng(0), 3.0)[:24], None)
    assert block_length(alike, 0.5) == 1
    assert ratio_of_quantiles(alike, alike, 0.5, EACH) is not None


def test_the_automatic_length_is_that_of_an_autoregressive_process() -> None:
    """Politis and White: for a correlation of r between neighbours it is (6 r² n / (1 - r²)²)^(1/3), asymptotically."""
    count, kept, lengths = 10_000, 0.8, []
    for seed in range(8):
        found, x = [], 0.0
        for shock in np.random.default_rng(seed).normal(size=count):
            x = kept * x + shock
            found.append(x)
        lengths.append(automatic_length(np.array(found)))
    assert np.median(lengths) == pytest.approx((6 * kept**2 * count / (1 - kept**2) ** 2) ** (1 / 3), rel=0.2)
    assert automatic_length(np.ones(100)) == 1


@pytest.mark.parametrize(
    ("confidence", "freedom", "t"),
    [(0.5, 1, 1.0), (0.95, 4, 2.776), (0.99, 9, 3.250), (0.999, 9, 4.781), (0.95, 30, 2.042), (0.999, 40, 3.551)],
)
def test_student_s_t_is_that_of_the_tables(confidence: float, freedom: int, t: float) -> None:
    assert two_sided(confidence, freedom) == pytest.approx(t, abs=6e-4)
