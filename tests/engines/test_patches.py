from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from jetvla.engines.graph import block_of
from jetvla.engines.patches import patches_as_products
from jetvla.engines.runner import GraphRunner

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(1, 3, 8, 12)).astype(np.float32)


def embedding(bias: bool = True, **attributes: list[int] | int) -> ModelProto:
    """Conv with 4 x 4 kernels, and rows of its output."""
    weights = {"w": RNG.normal(size=(5, 3, 4, 4)).astype(np.float32), "b": RNG.normal(size=5).astype(np.float32)}
    conv = helper.make_node("Conv", ["x", "w", *(["b"] if bias else [])], ["c"], name="eye/Conv_0", **attributes)
    nodes = [
        conv,
        helper.make_node("Reshape", ["c", "shape"], ["f"], name="eye/Reshape_1"),
        helper.make_node("Transpose", ["f"], ["y"], name="eye/Transpose_2", perm=[0, 2, 1]),
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items() if bias or name == "w"]
    tensors.append(numpy_helper.from_array(np.array([1, 5, -1], np.int64), "shape"))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(IMAGE.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, None, 5])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("bias", [True, False])
def test_a_patch_embedding_becomes_a_product(bias: bool) -> None:
    model = embedding(bias, strides=[4, 4])
    before = GraphRunner.of_model(model).run({"x": IMAGE})["y"]
    patches_as_products(model)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds == {"Reshape": 2, "Transpose": 1, "MatMul": 1} | ({"Add": 1} if bias else {})
    assert {block_of(node.name) for node in model.graph.node} == {"eye"}
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    np.testing.assert_allclose(GraphRunner.of_model(model).run({"x": IMAGE})["y"], before, atol=1e-5)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2]},
        {"strides": [4, 4], "pads": [2, 0, 2, 0]},
        {"strides": [4, 4], "dilations": [2, 2], "pads": [3, 3, 3, 3]},
        {},
    ],
)
def test_patches_that_overlap_or_leave_the_image_stay_a_conv(attributes: dict[str, list[int]]) -> None:
    model = embedding(True, **attributes)
    patches_as_products(model)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Reshape", "Transpose"]


def test_an_image_of_no_whole_number_of_patches_stays_a_conv() -> None:
    model = embedding(True, strides=[4, 4])
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 13
    patches_as_products(model)
    assert model.graph.node[0].op_type == "Conv"


def test_a_conv_whose_output_is_an_image_stays_one() -> None:
    model = embedding(True, strides=[4, 4])
    del model.graph.node[1:]
    model.graph.node[0].output[0] = "y"
    patches_as_products(model)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
