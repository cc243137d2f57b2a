from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from jetvla.engines.blocks import Block
from jetvla.engines.precision import BlockSearch, Judge, Placement
from jetvla.runtime.manifest import ErrorReport


def blocks_of(sizes: Mapping[str, int]) -> list[Block]:
    total = sum(sizes.values())
    return [Block(name, (), size, size / total) for name, size in sizes.items()]


class Machine:
    """Counts measurements; ``combine`` makes one score of the errors of the blocks in INT8."""

    def __init__(self, errors: Mapping[str, float], combine: Callable[[list[float]], float] = math.fsum) -> None:
        self.errors, self.combine, self.seen = errors, combine, list[frozenset[str]]()

    def __call__(self, keep_float: frozenset[str]) -> float:
        self.seen.append(keep_float)
        return self.combine([error for name, error in self.errors.items() if name not in keep_float])


def find(sizes: Mapping[str, int], machine: Machine, limit: float = 1.0) -> Placement:
    return BlockSearch(blocks_of(sizes), machine, lambda line: None).place(limit)


def quadrature(errors: list[float]) -> float:
    """How errors that do not know of each other add up."""
    return math.sqrt(math.fsum(error**2 for error in errors))


def test_everything_goes_where_everything_fits() -> None:
    sizes = {"a": 10, "b": 20, "c": 30}
    machine = Machine({"a": 0.2, "b": 0.3, "c": 0.4})
    placed = find(sizes, machine)
    assert placed.keep_float == frozenset()
    assert placed.score == pytest.approx(0.9)
    assert [(r.name, r.precision, r.alone) for r in placed.reports] == [
        ("a", "int8", 0.2),
        ("b", "int8", 0.3),
        ("c", "int8", 0.4),
    ]
    assert {r.together for r in placed.reports} == {placed.score}
    assert [r.share for r in placed.reports] == pytest.approx([1 / 6, 1 / 3, 1 / 2])
    assert len(machine.seen) == placed.evaluations == 4


def test_one_sensitive_block_stays_in_float() -> None:
    sizes = {f"layer {n}": 100 for n in range(12)} | {"head": 5}
    errors = dict.fromkeys(sizes, 0.05) | {"head": 3.0}
    placed = find(sizes, Machine(errors))
    assert placed.keep_float == {"head"}
    (head,) = (r for r in placed.reports if r.name == "head")
    assert (head.precision, head.alone, head.together) == ("float", 3.0, None)


def test_a_small_block_is_not_worth_a_large_one() -> None:
    """Both cost the same error: the one with more multiplications is chosen."""
    placed = find({"small": 10, "large": 90, "free": 50}, Machine({"small": 0.6, "large": 0.6, "free": 0.1}))
    assert placed.keep_float == {"small"}
    (small,) = (r for r in placed.reports if r.name == "small")
    # Why it stays: with it, the error would be this.
    assert small.together == pytest.approx(1.3)


def test_a_float_block_that_still_fits_is_taken_back() -> None:
    """By error per multiplication "c" goes first and "b" second; without "b", "c" fits again."""
    sizes, errors = {"a": 100, "b": 20, "c": 10}, {"a": 0.5, "b": 0.6, "c": 0.35}
    placed = find(sizes, Machine(errors))
    assert placed.keep_float == {"b"}
    assert {r.name: r.together for r in placed.reports} == {
        "a": pytest.approx(0.5),
        "b": pytest.approx(1.1),
        "c": pytest.approx(0.85),
    }


@pytest.mark.parametrize("seed", range(6))
def test_independent_errors_are_packed_as_well_as_by_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = {f"b{n}": int(size) for n, size in enumerate(rng.integers(20, 40, 9))}
    # Two kinds of blocks, and room for about half of the bad ones.
    errors = {name: float(rng.uniform(0.05, 0.1) if n % 2 else rng.uniform(0.5, 0.6)) for n, name in enumerate(sizes)}
    machine = Machine(errors, quadrature)
    placed = find(sizes, machine)
    assert placed.score <= 1
    found = sum(size for name, size in sizes.items() if name not in placed.keep_float)
    best = 0
    for number in range(2 ** len(sizes)):
        chosen = [name for bit, name in enumerate(sizes) if number >> bit & 1]
        if quadrature([errors[name] for name in chosen]) <= 1:
            best = max(best, sum(sizes[name] for name in chosen))
    assert found >= 0.95 * best
    assert placed.evaluations == len(machine.seen) <= 2 * len(sizes) + math.log2(len(sizes)) + 2


def test_a_smaller_limit_measures_only_what_is_new() -> None:
    sizes = {f"b{n}": 10 + n for n in range(8)}
    machine = Machine({name: 0.1 * (1 + n % 4) for n, name in enumerate(sizes)})
    search = BlockSearch(blocks_of(sizes), machine, lambda line: None)
    wide, narrow = search.place(1.0), search.place(0.5)
    assert wide.keep_float < narrow.keep_float
    assert narrow.score <= 0.5
    assert len(machine.seen) == len(set(machine.seen)) == narrow.evaluations
    assert narrow == dataclasses.replace(find(sizes, Machine(machine.errors), 0.5), evaluations=narrow.evaluations)


def test_nothing_fits() -> None:
    placed = find({"a": 1, "b": 1}, Machine({"a": 2.0, "b": math.inf}))
    assert placed.keep_float == {"a", "b"}
    assert (placed.score, {r.precision for r in placed.reports}) == (0.0, {"float"})


def test_the_same_scores_give_the_same_search() -> None:
    sizes = {f"b{n}": 10 for n in range(9)}
    first, second = (Machine(dict.fromkeys(sizes, 0.3)) for _ in range(2))
    assert find(sizes, first) == find(sizes, second)
    assert first.seen == second.seen
    # Equal blocks: three fit, and the order of the names decides which.
    assert find(sizes, first).keep_float == {f"b{n}" for n in range(6)}


def test_it_says_how_far_it_is() -> None:
    said: list[str] = []
    BlockSearch(blocks_of({"eye": 3, "hand": 1}), Machine({"eye": 0.1, "hand": 0.2}), said.append).place()
    assert said == [
        "block 1 of 2 alone: eye, 0.100 of tolerance",
        "block 2 of 2 alone: hand, 0.200 of tolerance",
        "2 of 2 blocks in INT8, 100% of their multiplications",
    ]


def test_the_worst_moving_dimension_judges() -> None:
    error = ErrorReport(samples=2, max=(9.0, 9.0, 9.0), mean=(0.02, 0.3, 5.0))
    judge = Judge(np.array([0.01, 0.2, 1.0]), np.array([True, True, False]))
    np.testing.assert_allclose(judge.shares(error), [2, 1.5, 0])
    assert judge.score(error) == pytest.approx(2)
    still = Judge(judge.tolerance, np.zeros(3, bool))
    assert still.score(error) == pytest.approx(5)
