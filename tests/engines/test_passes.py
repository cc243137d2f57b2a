from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from jetvla.engines.passes import fold_transposed_weights, keep_biases_apart, pack_projections
from jetvla.engines.runner import GraphRunner

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 3, 4)).astype(np.float32)


def model_of(nodes: list[NodeProto], weights: dict[str, NDArray[np.float32]], outputs: dict[str, int]) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, width]) for n, width in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def weight(rows: int, columns: int) -> NDArray[np.float32]:
    return RNG.normal(size=(rows, columns)).astype(np.float32)


def kinds(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_a_transposed_weight_becomes_a_weight() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"], name="t", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"], name="m"),
    ]
    model = model_of(nodes, {"w": weight(2, 4)}, {"y": 2})
    before = GraphRunner.of_model(model).run({"x": X})["y"]
    fold_transposed_weights(model)
    assert kinds(model) == {"MatMul": 1}
    assert [t.name for t in model.graph.initializer] == ["t"]
    np.testing.assert_array_equal(GraphRunner.of_model(model).run({"x": X})["y"], before)


def test_products_of_one_activation_become_one_product() -> None:
    nodes = [helper.make_node("MatMul", ["x", f"w{n}"], [f"y{n}"], name=f"m{n}") for n in (1, 2, 3)]
    model = model_of(nodes, {f"w{n}": weight(4, n) for n in (1, 2, 3)}, {f"y{n}": n for n in (1, 2, 3)})
    before = GraphRunner.of_model(model).run({"x": X})
    pack_projections(model)
    assert kinds(model) == {"MatMul": 1, "Split": 1}
    assert len(model.graph.initializer) == 2
    for name, array in GraphRunner.of_model(model).run({"x": X}).items():
        np.testing.assert_allclose(array, before[name], atol=1e-6)


def test_a_weight_with_another_reader_is_not_stored_twice() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y1"], name="m1"),
        helper.make_node("MatMul", ["x", "v"], ["a"], name="m2"),
        helper.make_node("MatMul", ["a", "w"], ["y2"], name="m3"),
    ]
    model = model_of(nodes, {"w": weight(4, 2), "v": weight(4, 4)}, {"y1": 2, "y2": 2})
    pack_projections(model)
    assert kinds(model) == {"MatMul": 3}


def test_biases_get_the_rank_of_the_product() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="m"),
        helper.make_node("Add", ["m", "b"], ["y"], name="a"),
        helper.make_node("Add", ["y", "b"], ["z"], name="unrelated"),
    ]
    model = model_of(nodes, {"w": weight(4, 2), "b": np.float32([1, 2])}, {"y": 2, "z": 2})
    before = GraphRunner.of_model(model).run({"x": X})
    keep_biases_apart(model, {"m"})
    assert {t.name: list(t.dims) for t in model.graph.initializer} == {"w": [4, 2], "b": [2], "b__row": [1, 1, 2]}
    for name, array in GraphRunner.of_model(model).run({"x": X}).items():
        np.testing.assert_allclose(array, before[name], atol=1e-6)
