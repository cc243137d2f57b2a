"""The time of a graph's runs, block by block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jetvla.engines.layers.layer import Placed, Work
from jetvla.engines.layers.roof import Roof
from jetvla.engines.layers.towers import TOWERS, Tower, tower_of


@dataclass(frozen=True)
class Row:
    """A block, a tower or all of a graph.

    Attributes:
        name: of the block, such as ``ViT block 7 MLP``; "A … B" where the library made one layer of several.
        tower: None if it is of none.
        ms: of one run.
        gop: 1e9 operations of one run, in float and on integers; a multiplication and an addition are two.
    """

    name: str
    tower: Tower | None
    ms: float
    float_gop: float
    integer_gop: float

    @property
    def gop(self) -> float:
        return self.float_gop + self.integer_gop

    @property
    def gop_per_s(self) -> float | None:
        """1e9 operations per second; None for a row that multiplies no matrices, or was never timed."""
        return self.gop / self.ms * 1e3 if self.gop and self.ms else None

    def of_roof(self, roof: Roof) -> float | None:
        """Time that its operations would take at the roof, as a part of the time that it took."""
        best_ms = (self.float_gop / roof.floats + self.integer_gop / roof.integers) * 1e3
        return best_ms / self.ms if self.gop and self.ms else None


@dataclass(frozen=True)
class LayerTable:
    """Where one run of a graph spends its time: ``rows`` + ``other_ms`` + ``rest_ms`` = ``total_ms``.

    Attributes:
        rows: blocks, in the order of the graph.
        other_ms: of layers that belong to no block, or to one that could not be told.
        rest_ms: between the layers: all that the library's own clock counts beyond them.
        total_ms: of a run as a whole, by the library's own clock.
        kernels: (kind, ms), most first; empty where the library does not say.
        runs: how many runs the times are the mean of.
    """

    rows: tuple[Row, ...]
    other_ms: float
    rest_ms: float
    total_ms: float
    kernels: tuple[tuple[str, float], ...]
    runs: int

    def towers(self) -> list[Row]:
        """Sums of the rows of each tower that there is."""
        present = [tower for tower in TOWERS if any(row.tower == tower for row in self.rows)]
        return [_sum(tower, tower, [row for row in self.rows if row.tower == tower]) for tower in present]

    def all_blocks(self) -> Row:
        """Sum of all rows."""
        return _sum("blocks", None, self.rows)


def make_table(placed: Placed, runs_ms: Sequence[float], warm_up: int) -> LayerTable:
    """The table of the runs after ``warm_up``: means over the half of them that took least as a whole, so that rows add
    up, and what other programs took from the others does not count."""
    order = warm_up + np.argsort(runs_ms[warm_up:], kind="stable")
    chosen = order[: -(-len(order) // 2)]
    total = _mean(runs_ms, chosen)
    by_row: dict[str, float] = defaultdict(float)
    by_kind: dict[str, float] = defaultdict(float)
    for layer in placed.layers:
        ms = _mean(layer.ms, chosen)
        by_row[layer.row] += ms
        by_kind[layer.kind] += ms
    rows = tuple(_row(name, by_row[name], placed.work.get(name, Work())) for name in placed.order)
    kernels = tuple(sorted(((kind, ms) for kind, ms in by_kind.items() if kind), key=lambda kernel: -kernel[1]))
    return LayerTable(rows, by_row[""], total - sum(by_row.values()), total, kernels, len(chosen))


def _mean(ms: Sequence[float], chosen: Iterable[int]) -> float:
    return float(np.mean(np.asarray(ms)[list(chosen)]))


def _row(name: str, ms: float, work: Work) -> Row:
    return Row(name, tower_of(name), ms, 2e-9 * work.floats, 2e-9 * work.integers)


def _sum(name: str, tower: Tower | None, rows: Iterable[Row]) -> Row:
    every = list(rows)
    ms, floats, integers = (sum(getattr(r, f) for r in every) for f in ("ms", "float_gop", "integer_gop"))
    return Row(name, tower, ms, floats, integers)
