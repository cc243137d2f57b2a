"""ONNX Runtime's kernels, fused ones too, against the blocks that they are known to be of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto
from profiled_graph import RUNS, Profiled

from jetvla.engines.blocks import find_blocks, multiplications
from jetvla.engines.cpu_graph import cpu_candidates
from jetvla.engines.layers.kernels import place_kernels
from jetvla.engines.layers.layer import Work
from jetvla.runtime.backends.base import LayerTimes
from jetvla.runtime.errors import EngineError

BUNDLE = Path(__file__).parents[2] / "data" / "tiny-bundle"
STEP, CALIBRATED = BUNDLE / "step.fp32.onnx", BUNDLE / "step.int8-fp32.onnx"
Profile = Callable[[ModelProto], Profiled]
BLOCKS = [
    "patch embedding",
    "ViT block 1 attention",
    "ViT block 1 MLP",
    "ViT block 2 attention",
    "ViT block 2 MLP",
    "vision norm",
    "vision projection",
    "first fusion layer attention",
    "first fusion layer feed-forward",
    "fusion layer 2 attention",
    "fusion layer 2 feed-forward",
    "last fusion layer attention",
    "last fusion layer feed-forward",
    "action head",
]


def portable(path: Path) -> ModelProto:
    return onnx.load(path)


def candidate(name: str) -> ModelProto:
    return next(c.model for c in cpu_candidates(STEP, (), CALIBRATED) if c.name == name)


GRAPHS: dict[str, Callable[[], ModelProto]] = {
    "fp32": lambda: portable(STEP),
    "int8": lambda: portable(CALIBRATED),
    "fused, float": lambda: candidate("fused, float"),
    "fused, dynamic INT8": lambda: candidate("fused, dynamic INT8"),
    "fused, calibrated INT8": lambda: candidate("fused, calibrated INT8"),
}


@pytest.fixture(params=list(GRAPHS))
def graph(request: pytest.FixtureRequest, profiled: Profile) -> Profiled:
    return profiled(GRAPHS[request.param]())


def total(work: dict[str, Work]) -> int:
    return sum(one.floats + one.integers for one in work.values())


def test_every_variant_has_the_same_rows_in_the_order_of_the_policy(graph: Profiled) -> None:
    assert graph.placed.order == BLOCKS


def test_no_kernel_and_no_time_is_lost(graph: Profiled) -> None:
    assert len(graph.placed.layers) == len(graph.rewritten.graph.node)
    for run in range(RUNS):
        placed = sum(layer.ms[run] for layer in graph.placed.layers)
        assert placed == pytest.approx(sum(layer.ms[run] for layer in graph.profile.layers))
        assert placed <= graph.profile.runs_ms[run]


def test_only_what_serves_several_blocks_belongs_to_none(graph: Profiled) -> None:
    """That is the mask of padding, and what finds the tokens that are none."""
    others = [name for name, block in graph.blocks.items() if not block]
    masks = {"Sub", "Mul", "Concat", "Unsqueeze", "Squeeze", "NonZero", "Expand", "Gather"}
    assert {name.lstrip("/").split("_")[0] for name in others} <= masks
    assert len(others) <= 6


def test_the_work_is_that_of_the_portable_float_graph(graph: Profiled) -> None:
    """Every way to compute a step multiplies as much, if every token is there."""
    assert total(graph.placed.work) == sum(multiplications(portable(STEP)).values())


def test_fused_kernels_belong_to_the_block_of_their_parts(profiled: Profile) -> None:
    graph = profiled(portable(STEP))
    blocks = graph.blocks
    assert blocks["ViT block 1 attention/MatMul_27/MatMulScaleFusion/"] == "ViT block 1 attention"
    assert blocks["fused action head/Gemm_172"] == "action head"
    # Names of the library's own; what they read and write was made by nodes 33, 37 and 78.
    assert blocks["gemm_input_reshape"] == blocks["gemm_output_reshape"] == "ViT block 1 attention"
    assert blocks["gemm_input_reshape_token_2"] == "ViT block 1 MLP"
    # Read by the fusion alone, but the vision projection's own result.
    (result,) = (node.name for node in graph.rewritten.graph.node if "linear_12" in node.output)
    assert blocks[result] == "vision projection"
    # The image is normalised for the patches, and a sum of residuals ends the block that it adds.
    assert blocks["/Div_8"] == "patch embedding"
    assert blocks["/Add_35"] == "ViT block 1 attention"
    assert blocks["/Slice_141"] == "last fusion layer attention"
    assert blocks["/Add_177"] == "action head"


def test_a_quantizer_that_was_moved_up_belongs_to_the_block_that_reads_it(profiled: Profile) -> None:
    blocks = profiled(portable(CALIBRATED)).blocks
    moved = {name: block for name, block in blocks.items() if name.endswith("_q")}
    assert moved["div_1_q"] == "patch embedding"
    assert set(moved.values()) <= set(BLOCKS)


def test_products_count_as_integers_where_the_kernel_is_one_of_integers(profiled: Profile) -> None:
    assert all(work.integers == 0 for work in profiled(portable(STEP)).placed.work.values())
    work = profiled(portable(CALIBRATED)).placed.work
    every = {block.name: block.multiplications for block in find_blocks(portable(CALIBRATED))} or {}
    # The quantizer's sites, without the products of two activations; the portable graph's Gemm runs in float.
    assert work["action head"].integers == 0
    assert work["ViT block 1 MLP"].floats == 0
    assert 0 < work["ViT block 1 attention"].floats < work["ViT block 1 attention"].integers
    assert not set(every) - set(BLOCKS)


def test_attention_stays_in_float_where_all_else_is_integers(profiled: Profile) -> None:
    work = profiled(candidate("fused, calibrated INT8")).placed.work
    float_blocks = {block for block, one in work.items() if one.floats}
    assert float_blocks == {block for block in BLOCKS if block.endswith("attention")}
    assert work["action head"].integers > 0


def test_a_kernel_that_is_not_in_the_graph_is_no_row(profiled: Profile) -> None:
    graph = profiled(portable(STEP))
    strange = LayerTimes("MemcpyToHost", "Memcpy", (), (1.0,))
    with pytest.raises(EngineError, match="timed 'MemcpyToHost', which is no node"):
        place_kernels(graph.places, graph.rewritten, (*graph.profile.layers, strange))
