from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from jetvla.engines.blocks import find_blocks, multiplications
from jetvla.engines.families.end_to_end.blocks import block
from jetvla.engines.graph import NodeNames, block_of


def model_of(nodes: list[NodeProto], shapes: dict[str, list[int]], output: list[int]) -> ModelProto:
    """Input ``x`` [1, 4, 8, 8] to ``y``; weights of the given shapes."""
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def ints(name: str, *values: int) -> NodeProto:
    return helper.make_node("Constant", [], [name], name=f"/{name}", value_ints=values)


def test_multiplications_by_hand() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], name="eye/Conv_0", strides=[2, 2]),
        ints("shape", 1, 16, 5),
        helper.make_node("Reshape", ["c", "shape"], ["r"], name="/Reshape_2"),
        helper.make_node("MatMul", ["r", "w"], ["m"], name="hand/MatMul_3"),
        helper.make_node("Transpose", ["m"], ["t"], name="/Transpose_4", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["m", "t"], ["y"], name="hand/MatMul_5"),
    ]
    model = model_of(nodes, {"k": [5, 4, 2, 2], "w": [5, 7]}, [1, 16, 16])
    # 16 pixels of 5 channels, each 4 * 2 * 2; 16 rows of 7, each 5; 16 x 16 scores, each 7.
    assert multiplications(model) == {"eye/Conv_0": 16 * 5 * 16, "hand/MatMul_3": 16 * 7 * 5, "hand/MatMul_5": 1792}
    eye, hand = find_blocks(model)
    assert (eye.name, eye.multiplications, hand.name, hand.multiplications) == ("eye", 1280, "hand", 560)
    # The product of two activations is part of the whole, and of no block.
    assert eye.share == pytest.approx(1280 / (1280 + 560 + 1792))
    assert [site.weight for site in hand.sites] == ["w"]


@pytest.mark.parametrize(("transposed", "shape"), [(0, [256, 4]), (1, [4, 256])])
def test_multiplications_of_a_gemm(transposed: int, shape: list[int]) -> None:
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], name="/Flatten_0"),
        helper.make_node("Gemm", ["f", "w"], ["y"], name="head/Gemm_1", transB=transposed),
    ]
    assert multiplications(model_of(nodes, {"w": shape}, [1, 4])) == {"head/Gemm_1": 256 * 4}


def test_a_policy_s_blocks(exported: dict[str, ModelProto]) -> None:
    blocks = find_blocks(exported["step"])
    parts = ("attention", "feed-forward")
    assert [one.name for one in blocks] == [
        "patch embedding",
        *(f"ViT block {n} {part}" for n in (1, 2) for part in ("attention", "MLP")),
        "vision projection",
        *(
            f"{layer} {part}"
            for layer in ("first fusion layer", "fusion layer 2", "last fusion layer")
            for part in parts
        ),
        "action head",
    ]
    # 16 patches of 8 * 8 * 3 numbers, 16 wide.
    assert blocks[0].multiplications == 16 * 192 * 16
    assert 0.8 < sum(one.share for one in blocks) < 1


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("network.vision_encoder.embeddings.patch_embeddings.projection", "patch embedding"),
        ("network.vision_encoder.layers.6.layernorm_before", "ViT block 7 attention"),
        ("network.vision_encoder.layers.6.attention.o_proj", "ViT block 7 attention"),
        ("network.vision_encoder.layers.11.layernorm_after", "ViT block 12 MLP"),
        ("network.vision_encoder.layers.6", ""),
        ("fusion.first.key_value", "first fusion layer attention"),
        ("fusion.middle.3.linear1", "fusion layer 5 feed-forward"),
        ("fusion.middle.0", "fusion layer 2 attention"),
        ("fusion.last.layer.norm1", "last fusion layer attention"),
        ("fusion.last.layer.norm2", "last fusion layer feed-forward"),
        ("fusion.layers.1.layer.linear2", "fusion layer 2 feed-forward"),
        ("fusion.layers.1.value", "fusion layer 2 attention"),
        ("network.action_head.3", "action head"),
        ("fusion.last.layer.activation", "last fusion layer feed-forward"),
        ("encoder.encoder.layer.0.attention.self.query_proj", "text layer 1 attention"),
        ("encoder.encoder.layer.0.intermediate.dense", "text layer 1 feed-forward"),
        ("encoder.embeddings.LayerNorm", "text embedding"),
        ("projection", "text projection"),
        ("key", "text keys and values"),
        ("value", "text keys and values"),
        ("fusion", ""),
        ("", ""),
    ],
)
def test_names_of_modules(module: str, name: str) -> None:
    assert block(module) == name


def test_new_nodes_get_names_of_their_own() -> None:
    weight: NDArray[np.float32] = np.ones((8, 8), np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="a/b c/MatMul_41")]
    names = NodeNames(model_of(nodes, {"w": list(weight.shape)}, [1, 4, 8, 8]))
    assert [names.new("a/b c", "Cast"), names.new("", "Cast")] == ["a/b c/Cast_42", "/Cast_43"]
    assert (block_of("a/b c/Cast_42"), block_of("/Cast_43"), block_of("Cast")) == ("a/b c", "", "")
