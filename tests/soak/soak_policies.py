"""Policies that mean no good. Each gives one chunk [H, D] at a time, in units of full size (1 = the largest legal)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Policy = Callable[[int, int, int], Array]
Random = np.random.Generator


def jumping(rng: Random) -> Policy:
    """Another direction each time, often beyond the limits."""
    size = 10 ** rng.uniform(-2, 1)
    return lambda _, h, d: np.repeat(rng.normal(size=(1, d)) * size, h, axis=0)


def noise(rng: Random) -> Policy:
    """Every row of every chunk is another."""
    size = 10 ** rng.uniform(-2, 1)
    return lambda _, h, d: rng.normal(size=(h, d)) * size


def shaking(rng: Random) -> Policy:
    """Back and forth at full speed, as fast as chunks come or slower."""
    every, size = int(rng.integers(1, 8)), rng.uniform(0.5, 2)
    return lambda k, h, d: np.full((h, d), size * (-1.0) ** (k // every))


def waves(rng: Random) -> Policy:
    """Sines of all speeds."""
    speeds, size = 10 ** rng.uniform(-2, 0.7, size=64), rng.uniform(0.3, 3)
    return lambda k, h, d: size * np.sin(speeds[:d] * (k + np.arange(h)[:, None] / h))


def pushing(rng: Random) -> Policy:
    """One way, for ever, and at the same time sideways, to and fro."""
    axis, every = int(rng.integers(3)), rng.integers(1, 6, size=64)
    push, aside = rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.0), rng.uniform(0.0, 2.0)

    def policy(k: int, h: int, d: int) -> Array:
        row = aside * (-1.0) ** (k // every[:d])
        row[axis % d] = push
        return np.repeat(row[None], h, axis=0)

    return policy


def creeping(rng: Random) -> Policy:
    """Many small steps, each of them harmless."""
    step = rng.normal(size=64) * 0.05
    return lambda k, h, d: step[:d] * (k + np.arange(h)[:, None] / h)


def broken(rng: Random) -> Policy:
    """Numbers that no robot knows, among good ones; two bad chunks in a row are not yet a fault."""
    wrong = np.array([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -0.0])

    def policy(k: int, h: int, d: int) -> Array:
        chunk: Array = np.repeat(rng.uniform(-1, 1, size=(1, d)), h, axis=0)
        if k % 3 < 2:
            chunk[rng.integers(h), rng.integers(d)] = rng.choice(wrong)
        return chunk

    return policy


def sudden(rng: Random) -> Policy:
    """Rest, and out of rest the hardest start."""
    chance = rng.uniform(0.05, 0.5)
    return lambda k, h, d: np.full((h, d), rng.choice([-1e6, 1e6]) if rng.random() < chance else 0.0)


POLICIES: tuple[Callable[[Random], Policy], ...] = (
    jumping,
    noise,
    shaking,
    waves,
    pushing,
    creeping,
    broken,
    sudden,
)
