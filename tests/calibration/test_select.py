from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jetvla.calibration.select import POOL, Selection, candidates, choose, covering_radius, split
from jetvla.runtime.errors import ConfigError, EpisodeError

SELECTIONS: tuple[Selection, ...] = get_args(Selection)
seeds = st.integers(0, 10_000)
# How fast the machine is does not matter.
unhurried = settings(deadline=None)


def random_case(seed: int, size: int, groups: int) -> tuple[NDArray[np.float32], list[str]]:
    """Points in the plane, labelled so that some groups are rare."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.4, size) - 1, groups - 1)
    return rng.normal(size=(size, 2)).astype(np.float32), [f"pick {label}" for label in labels]


def clusters(seed: int, sizes: list[int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Tight clusters on a circle of radius 100, one after the other."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    angle = cluster * 2 * np.pi / len(sizes)
    centre = 100 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (centre + rng.uniform(-1, 1, centre.shape)).astype(np.float32), cluster


# -- choose --


@unhurried
@given(st.sampled_from(SELECTIONS), seeds, st.integers(1, 120), st.integers(1, 6), st.integers(1, 140))
def test_a_choice_is_ascending_without_duplicates_and_always_the_same(
    how: Selection, seed: int, size: int, groups: int, count: int
) -> None:
    features, labels = random_case(seed, size, groups)
    chosen = choose(features, labels, count, seed, how)
    assert chosen.dtype == np.int64
    assert len(chosen) == min(count, size)
    assert all(a < b for a, b in pairwise(chosen.tolist()))
    assert chosen[0] >= 0
    assert chosen[-1] < size
    np.testing.assert_array_equal(chosen, choose(features, labels, count, seed, how))


@unhurried
@given(seeds, st.integers(1, 200), st.integers(1, 8), st.integers(1, 60))
def test_every_group_has_one_and_its_share_of_the_rest(seed: int, size: int, groups: int, count: int) -> None:
    features, labels = random_case(seed, size, groups)
    sizes = Counter(labels)
    got = Counter(labels[i] for i in choose(features, labels, count, seed, "covering"))
    if count < len(sizes):
        assert len(got) == count
        assert set(got.values()) == {1}
        return
    assert set(got) == set(sizes)
    rest = min(count, size) - len(sizes)
    for label, number in got.items():
        assert number <= sizes[label]
        assert abs(number - 1 - (sizes[label] - 1) * rest / max(1, size - len(sizes))) < 1


@pytest.mark.parametrize("seed", range(6))
def test_with_too_many_groups_those_far_apart_are_represented(seed: int) -> None:
    features = np.float32([[0], [1], [2], [50], [51], [100]])
    assert covering_radius(features, choose(features, "abcdef", 3, seed, "covering")) <= 2
    # 50 and 51 are of one group, and so are 0 and 100: the choice may not take two of either.
    labels = "abcdda"
    assert len({labels[i] for i in choose(features, labels, 3, seed, "covering")}) == 3


@unhurried
@given(seeds, st.lists(st.integers(1, 60), min_size=2, max_size=12))
def test_one_of_each_cluster_is_chosen_however_small_it_is(seed: int, sizes: list[int]) -> None:
    features, cluster = clusters(seed, sizes)
    chosen = choose(features, [""] * len(features), len(sizes), seed, "covering")
    assert set(cluster[chosen]) == set(range(len(sizes)))


@unhurried
@given(seeds, st.lists(st.integers(1, 60), min_size=2, max_size=12), st.integers(0, 10))
def test_covering_covers_clusters_no_worse_than_uniform(seed: int, sizes: list[int], more: int) -> None:
    features, _ = clusters(seed, sizes)
    labels = [""] * len(features)
    count = len(sizes) + more
    # Both hit every cluster: then neither is bound to be better, though both are near.
    covering, uniform = (
        covering_radius(features, choose(features, labels, count, seed, how)) for how in ("covering", "uniform")
    )
    assert covering <= max(uniform, 2 * 2**0.5)
    if uniform > 10:
        assert covering < uniform / 10


@unhurried
@given(seeds, st.integers(2, 40), st.integers(1, 8))
def test_the_covering_radius_is_at_most_twice_the_least_possible(seed: int, size: int, count: int) -> None:
    """Gonzalez' bound, against every choice of up to two."""
    features, _ = random_case(seed, size, 1)
    count = min(count, 2)
    assume(count <= size)
    distances = np.sqrt(np.square(features[:, None] - features).sum(axis=2))
    pairs = [(i, j) for i in range(size) for j in range(i, size)] if count == 2 else [(i, i) for i in range(size)]
    least = min(float(np.minimum(distances[i], distances[j]).max()) for i, j in pairs)
    chosen = choose(features, [""] * size, count, seed, "covering")
    assert covering_radius(features, chosen) <= 2 * least + 1e-4


def test_the_covering_radius_by_hand() -> None:
    features = np.float32([[0, 0], [3, 4], [10, 0]])
    assert covering_radius(features, np.array([0])) == 10
    assert covering_radius(features, np.array([0, 2])) == 5
    assert covering_radius(features, np.array([0, 1, 2])) == 0


def test_equal_observations_are_still_chosen_once_each() -> None:
    features = np.zeros((6, 3), np.float32)
    np.testing.assert_array_equal(choose(features, "aaabbb", 6, 0, "covering"), range(6))
    assert len(set(choose(features, "aaabbb", 4, 0, "covering").tolist())) == 4


@unhurried
@given(seeds, st.integers(1, 5000), st.integers(1, 300))
def test_uniform_is_evenly_spread(seed: int, size: int, count: int) -> None:
    chosen = choose(np.zeros((size, 1), np.float32), [""] * size, count, seed, "uniform")
    gaps = np.diff(chosen)
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1
    assert chosen[0] <= size / len(chosen)
    assert size - 1 - chosen[-1] <= size / len(chosen)


@pytest.mark.parametrize("how", SELECTIONS)
def test_another_seed_gives_another_choice(how: Selection) -> None:
    features, labels = random_case(0, 500, 3)
    assert len({tuple(choose(features, labels, 10, seed, how)) for seed in range(5)}) > 1


def test_a_choice_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot choose 0 samples; give 1 or more"):
        choose(np.zeros((2, 1), np.float32), "ab", 0, 0, "covering")


@pytest.mark.parametrize("features", [np.zeros((2, 1)), np.zeros(3), np.float32([[0], [1], [np.nan]])])
def test_features_that_do_not_fit_are_refused(features: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="one row for each group label"):
        choose(features, "abc", 1, 0, "covering")


# -- candidates --


@unhurried
@given(st.lists(st.integers(0, 200), min_size=1, max_size=30), st.integers(1, 400), seeds)
def test_candidates_are_bounded_and_of_all_episodes_in_proportion(lengths: list[int], limit: int, seed: int) -> None:
    assume(any(lengths))
    pool = candidates(lengths, limit, seed)
    assert len(pool) == min(limit, sum(lengths))
    assert all(a < b for a, b in pairwise(pool))
    assert all(0 <= step < lengths[episode] for episode, step in pool)
    assert pool == candidates(lengths, limit, seed)
    filled = [length for length in lengths if length]
    got = Counter(episode for episode, _ in pool)
    if limit >= len(filled):
        rest = len(pool) - len(filled)
        for episode, number in got.items():
            assert abs(number - 1 - (lengths[episode] - 1) * rest / max(1, sum(filled) - len(filled))) < 1
        assert len(got) == len(filled)
    else:
        for episode, length in enumerate(lengths):
            assert abs(got[episode] - length * limit / sum(lengths)) <= 1


def test_a_million_episodes_still_give_no_more_than_the_pool() -> None:
    pool = candidates([1, 3] * 500_000)
    assert len(pool) == POOL
    assert 0.7 < np.mean([episode % 2 for episode, _ in pool]) < 0.8
    assert pool[0][0] < 1000
    assert pool[-1][0] > 999_000


def test_candidates_of_nothing_are_refused() -> None:
    with pytest.raises(EpisodeError, match="2 episodes hold no step"):
        candidates([0, 0])
    with pytest.raises(EpisodeError, match="0 episodes hold no step"):
        candidates([])
    with pytest.raises(ConfigError, match="pool of 0"):
        candidates([3], 0)


# -- split --


@unhurried
@given(st.integers(2, 60), st.floats(0.001, 0.999), seeds)
def test_held_out_episodes_are_never_used(count: int, part: float, seed: int) -> None:
    names = [f"episode_{i}" for i in range(count)]
    used, held_out = split(names, part, seed)
    assert used
    assert held_out
    assert not set(used) & set(held_out)
    assert sorted(used + held_out) == sorted(names)
    assert [n for n in names if n in used] == list(used)
    assert abs(len(held_out) - part * count) <= 1
    assert (used, held_out) == split(names, part, seed)


def test_another_seed_holds_out_others() -> None:
    names = [str(i) for i in range(20)]
    assert len({split(names, 0.25, seed)[1] for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("names", "said"), [([], "0 episodes: at"), (["only"], "1 episode: at"), ("aba", "called 'a'")]
)
def test_episodes_that_cannot_be_split_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(EpisodeError, match=said):
        split(names, 0.25, 0)


@pytest.mark.parametrize("part", [0.0, 1.0, -1.0, float("nan")])
def test_a_part_that_leaves_nothing_is_refused(part: float) -> None:
    with pytest.raises(ConfigError, match="must be above 0 and below 1"):
        split(["a", "b"], part, 0)
