"""Sums, means and shares of a table, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.engines.layers.layer import Layer, Placed, Work
from jetvla.engines.layers.roof import Roof
from jetvla.engines.layers.table import LayerTable, make_table

WARM_UP = 2
# Two to warm up, and six of which other programs disturbed two.
RUNS_MS = (1.0, 800.0, 14.0, 500.0, 11.0, 15.0, 300.0, 12.5)


def layer(row: str, kind: str, part: float) -> Layer:
    return Layer(row, kind, [part * ms for ms in RUNS_MS])


@pytest.fixture
def table() -> LayerTable:
    layers = [
        layer("ViT block 1 MLP", "MatMul", 0.25),
        layer("action head", "MatMul", 0.125),
        layer("ViT block 1 MLP", "Gelu", 0.25),
        layer("", "Concat", 0.125),
        layer("vision norm", "", 0.0625),
    ]
    work = {
        "ViT block 1 MLP": Work(floats=3_000_000_000, integers=1_000_000_000),
        "action head": Work(floats=500_000),
    }
    return make_table(Placed(layers, work, ["ViT block 1 MLP", "vision norm", "action head"]), RUNS_MS, WARM_UP)


def test_times_are_those_of_the_fastest_half_after_the_warm_up(table: LayerTable) -> None:
    assert table.runs == 3
    assert table.total_ms == np.mean([11, 12.5, 14])


def test_rows_and_the_rest_are_the_total(table: LayerTable) -> None:
    assert [(row.name, row.tower, row.ms) for row in table.rows] == [
        ("ViT block 1 MLP", "vision", 6.25),
        ("vision norm", "vision", 0.78125),
        ("action head", "head", 1.5625),
    ]
    assert table.other_ms == 1.5625
    assert sum(row.ms for row in table.rows) + table.other_ms + table.rest_ms == table.total_ms
    assert table.rest_ms == pytest.approx(12.5 * (1 - 0.8125))


def test_towers_are_sums_of_their_rows(table: LayerTable) -> None:
    vision, head = table.towers()
    assert (vision.name, vision.ms, vision.gop) == ("vision", 7.03125, 8.0)
    assert (head.name, head.ms, head.gop) == ("head", 1.5625, 0.001)
    assert table.all_blocks().ms == 8.59375


def test_kernels_are_summed_by_kind_most_first(table: LayerTable) -> None:
    assert table.kernels == (("MatMul", 4.6875), ("Gelu", 3.125), ("Concat", 1.5625))


def test_speed_and_share_of_the_roof(table: LayerTable) -> None:
    roof = Roof(floats=2000.0, integers=8000.0)
    block, norm, _ = table.rows
    # 6 GFLOP and 2 GOP in 6.25 ms; at the roof 3 ms and 0.25 ms.
    assert block.gop_per_s == pytest.approx(8 / 6.25e-3)
    assert block.of_roof(roof) == pytest.approx(3.25 / 6.25)
    assert (norm.gop_per_s, norm.of_roof(roof)) == (None, None)
