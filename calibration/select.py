"""Which recorded observations a policy is calibrated with, and which are kept back to judge it by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import ConfigError, EpisodeError

Selection = Literal["covering", "uniform"]
# Candidates that are looked at, however large the data set is.
POOL = 4096

Indices = NDArray[np.int64]


def split(names: Sequence[str], held_out_part: float, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Share out episodes at random: those to use, and those held out; each in the order given, never both.

    Args:
        names: of the episodes, all different.
        held_out_part: of the episodes, above 0 and below 1; at least one is held out and at least one used.
        seed: of the random order.

    Raises:
        EpisodeError: fewer than two episodes, or two of one name.
        ConfigError: ``held_out_part`` is out of range.
    """
    if not 0 < held_out_part < 1:
        raise ConfigError(f"the held-out part is {held_out_part:g}; it must be above 0 and below 1, 0.25 for example")
    if len(names) < 2:
        raise EpisodeError(
            f"{len(names)} episode{'' if len(names) == 1 else 's'}: at least two are needed, one to calibrate with "
            "and one to judge by; record another"
        )
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise EpisodeError(f"two episodes are called {', '.join(map(repr, twice))}; rename one of them")
    count = min(max(1, round(held_out_part * len(names))), len(names) - 1)
    held_out = set(np.random.default_rng(seed).permutation(len(names))[:count].tolist())
    parts = [[name for i, name in enumerate(names) if (i in held_out) is kept] for kept in (False, True)]
    return tuple(parts[0]), tuple(parts[1])


def candidates(lengths: Sequence[int], limit: int = POOL, seed: int = 0) -> list[tuple[int, int]]:
    """At most ``limit`` steps as (episode, step), ascending: what :func:`choose` may choose from.

    Every step if there are no more; else one of each episode and the rest in proportion to the lengths, evenly
    spread inside each episode. With more episodes than ``limit``, evenly spread over all steps of all episodes.

    Raises:
        EpisodeError: there is no step at all.
        ConfigError: ``limit`` is below 1.
    """
    if limit < 1:
        raise ConfigError(f"a pool of {limit} candidates is empty; give 1 or more")
    sizes = np.array(lengths, np.int64)
    if not sizes.any():
        raise EpisodeError(f"{len(lengths)} episodes hold no step; record some")
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    filled = np.flatnonzero(sizes)
    if limit < len(filled):
        steps = _spread(int(sizes.sum()), limit, rng)
    else:
        shares = _shares(sizes[filled], limit)
        parts = zip(filled, shares, strict=True)
        steps = np.concatenate([starts[e] + _spread(int(sizes[e]), int(share), rng) for e, share in parts])
    episodes = np.searchsorted(starts + sizes, steps, side="right")
    return list(zip(episodes.tolist(), (steps - starts[episodes]).tolist(), strict=True))


def choose(features: NDArray[np.float32], groups: Sequence[Hashable], count: int, seed: int, how: Selection) -> Indices:
    """Choose ``count`` of N candidates, or all N if there are no more.

    ``covering`` is the greedy farthest-point choice (Gonzalez, "Clustering to minimize the maximum intercluster
    distance", 1985): from a random candidate on, each next one is the farthest from all those chosen. Every group
    gets one, and of the rest a share in proportion to its size. With more groups than ``count`` no group gets a
    second one, so ``count`` groups are represented, those far apart. Takes O(count N F) time.

    ``uniform`` is evenly spread over the candidates from a random offset on, whatever their group.

    Args:
        features: float32 [N, F], finite; Euclidean distance is what counts.
        groups: N labels, such as the instruction.
        count: how many.
        seed: of the first candidate, or of the offset. The same arguments give the same choice.
        how: one of the two.

    Returns:
        int64 [count] indices, ascending, all different.

    Raises:
        ConfigError: ``count`` is below 1.
    """
    if features.ndim != 2 or len(features) != len(groups) or not np.isfinite(features).all():
        raise ValueError(f"features must be finite [{len(groups)}, F], one row for each group label")
    if count < 1:
        raise ConfigError(f"cannot choose {count} samples; give 1 or more")
    rng = np.random.default_rng(seed)
    count = min(count, len(features))
    if how == "uniform":
        return _spread(len(features), count, rng)
    return np.sort(_farthest_points(features, _labels(groups), count, int(rng.integers(len(features)))))


def covering_radius(features: NDArray[np.float32], chosen: Indices) -> float:
    """The largest distance of any row of ``features`` [N, F] to the nearest of the ``chosen`` ones."""
    nearest = np.full(len(features), np.inf)
    for index in chosen:
        nearest = np.minimum(nearest, _squared_distances(features, index))
    return float(np.sqrt(nearest.max()))


def _farthest_points(features: NDArray[np.float32], labels: Indices, count: int, first: int) -> Indices:
    sizes = np.bincount(labels)
    left = _shares(sizes, count) if count >= len(sizes) else np.ones_like(sizes)
    allowed = np.ones(len(features), bool)
    nearest = np.full(len(features), np.inf)
    chosen = [first]
    while True:
        newest = chosen[-1]
        allowed[newest] = False
        left[labels[newest]] -= 1
        if left[labels[newest]] == 0:
            allowed &= labels != labels[newest]
        if len(chosen) == count:
            return np.array(chosen, np.int64)
        nearest = np.minimum(nearest, _squared_distances(features, newest))
        chosen.append(int(np.argmax(np.where(allowed, nearest, -1.0))))


def _squared_distances(features: NDArray[np.float32], index: int) -> NDArray[np.floating]:
    distances: NDArray[np.floating] = np.square(features - features[index]).sum(axis=1)
    return distances


def _labels(groups: Sequence[Hashable]) -> Indices:
    """Groups as 0, 1, ... in the order of their first appearance."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[group] for group in groups], np.int64)


def _shares(sizes: Indices, count: int) -> Indices:
    """How many of ``count`` each part of a size above 0 gets: one, and of the rest what its size earns it.

    Sums to ``count``, or to all there is; no part gets more than its size. ``count`` is at least the number of parts.
    """
    rest, more = min(count, int(sizes.sum())) - len(sizes), sizes - 1
    if rest == 0:
        return np.ones_like(sizes)
    earned, remainder = np.divmod(more * rest, more.sum())
    first = np.argsort(-remainder, kind="stable")[: rest - int(earned.sum())]
    earned[first] += 1
    return earned + 1


def _spread(size: int, count: int, rng: np.random.Generator) -> Indices:
    """``count`` of 0 .. ``size`` - 1, evenly spread from a random offset on, ascending; ``count`` is at most
    ``size``."""
    return (np.arange(count, dtype=np.int64) * size + int(rng.integers(size))) // count
