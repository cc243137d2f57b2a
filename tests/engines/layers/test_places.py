"""Blocks of nodes that bear no block's name, and a tower for every block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from jetvla.engines.checkpoint import load_checkpoint
from jetvla.engines.export import export_graph
from jetvla.engines.families.act.family import FAMILY as ACT
from jetvla.engines.layers.places import Places, spread
from jetvla.engines.layers.towers import TOWERS, tower_of

ZOO = Path(__file__).parents[3] / "engines" / "zoo" / "table-robot"


def node(name: str, inputs: str, outputs: str) -> NodeProto:
    return helper.make_node("Add", inputs.split(), outputs.split(), name=name)


def test_a_node_without_a_block_goes_to_its_only_reader_or_else_to_what_it_read_last() -> None:
    nodes = [
        node("scale", "image", "a"),
        node("shift", "a", "b"),
        node("eye", "b", "c"),
        node("mask", "words", "m"),
        node("hand", "c m", "d"),
        node("residual", "d c", "e"),
        node("norm", "e m", "f"),
        node("foot", "e f", "g"),
        node("unit", "g", "y"),
    ]
    known = {"eye": "EYE", "hand": "HAND", "foot": "FOOT"}
    assert spread(nodes, known) == {
        "scale": "EYE",
        "shift": "EYE",
        "eye": "EYE",
        "mask": "",
        "hand": "HAND",
        "residual": "FOOT",
        "norm": "FOOT",
        "foot": "FOOT",
        "unit": "FOOT",
    }


def test_a_sum_that_two_blocks_read_ends_the_block_that_it_adds() -> None:
    nodes = [node("eye", "x", "a"), node("hand", "a", "b"), node("sum", "a b", "c"), node("foot", "c", "d")]
    nodes += [node("end", "c d", "y")]
    assert spread(nodes, {"eye": "EYE", "hand": "HAND", "foot": "FOOT", "end": "END"})["sum"] == "HAND"


def test_products_of_constants_are_no_work() -> None:
    product = helper.make_node("MatMul", ["w", "w"], ["c"], name="eye/MatMul_0")
    nodes = [product, helper.make_node("MatMul", ["x", "c"], ["y"], name="eye/MatMul_1")]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in "xy"]
    weights = [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")]
    model = helper.make_model(helper.make_graph(nodes, "step", value[:1], value[1:], weights))
    assert Places(model).work == {"eye/MatMul_1": 64}


@pytest.fixture(scope="module")
def zoo() -> dict[str, ModelProto]:
    policy = load_checkpoint(ZOO)
    plan = policy.family.export_plan(policy.network, policy.settings, policy.actions)
    return {source.name: export_graph(source, policy.family.block) for source in plan.graphs}


@pytest.mark.parametrize(("graph", "towers"), [("step", {"vision", "fusion", "head"}), ("language", {"language"})])
def test_every_product_of_the_zoo_s_policy_is_in_a_block_of_a_tower(
    zoo: dict[str, ModelProto], graph: str, towers: set[str]
) -> None:
    places = Places(zoo[graph])
    assert {tower_of(places.blocks[product]) for product in places.work} == towers
    assert {tower_of(block) for block in places.order if block} == towers


def test_every_block_of_act_has_a_tower() -> None:
    modules = (
        "backbone.layer2.1",
        "backbone",
        "encoder_img_feat_input_proj",
        "encoder_robot_state_input_proj",
        "encoder.layers.0.self_attn",
        "decoder.layers.0.multihead_attn",
        "decoder.layers.0.linear1",
        "decoder.layers.0",
        "action_head",
    )
    assert {tower_of(ACT.block(module)) for module in modules} == set(TOWERS) - {"language"}


def test_a_row_of_several_blocks_has_a_tower_if_they_have_one() -> None:
    assert tower_of("ViT block 1 MLP … ViT block 2 attention") == "vision"
    assert tower_of("vision projection … first fusion layer attention") is None
    assert tower_of("left hand") is None
