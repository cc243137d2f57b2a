from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from jetvla.engines.graph import block_of
from jetvla.engines.half import rounded, to_half
from jetvla.engines.quantize import collect_ranges, find_sites, quantize
from jetvla.engines.runner import GraphRunner
from jetvla.runtime.errors import EngineError

Feed = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def feeds(exported: dict[str, ModelProto]) -> list[Feed]:
    rng, language = np.random.default_rng(0), GraphRunner.of_model(exported["language"])
    text = language.run({"input_ids": rng.integers(1, 12, (1, 12)), "attention_mask": np.ones((1, 12), np.int64)})
    return [{"image_front": rng.integers(0, 256, (1, 32, 32, 3), np.uint8), **text} for _ in range(4)]


@pytest.fixture(scope="module")
def integers(exported: dict[str, ModelProto], feeds: list[Feed]) -> ModelProto:
    step = exported["step"]
    seen = collect_ranges(step, find_sites(step), feeds)
    return quantize(step, {name: histogram.limit("mse") for name, histogram in seen.items()}).model


def model_of(*between: NodeProto, weight: float = 1.0, **constants: float) -> ModelProto:
    """``x`` [1, 2] times a matrix of ``weight`` makes ``m``; ``between`` makes ``h``, which another one reads."""
    weights = {"w": np.full((2, 2), weight, np.float32), "eye": np.eye(2, dtype=np.float32)}
    weights |= {name: np.full(2, value, np.float32) for name, value in constants.items()} | {
        "one": np.ones(2, np.float32)
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="body/MatMul_0"),
        *between,
        helper.make_node("MatMul", ["h", "eye"], ["last"], name="body/MatMul_8"),
        helper.make_node("Mul", ["last", "one"], ["y"], name="/Mul_9"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def node(kind: str, inputs: list[str], output: str, number: int = 1) -> NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"body/{kind}_{number}")


def test_half_is_near_float_and_keeps_its_interface(
    exported: dict[str, ModelProto], integers: ModelProto, feeds: list[Feed]
) -> None:
    step = exported["step"]
    single = GraphRunner.of_model(step)
    for base, limit in ((step, 0.01), (integers, 0.3)):
        model = to_half(base)
        assert (model.graph.input, model.graph.output) == (step.graph.input, step.graph.output)
        for runner in (GraphRunner.of_model(model), GraphRunner.of_model(rounded(model))):
            for feed in feeds:
                assert np.abs(runner.run(feed)["actions"] - single.run(feed)["actions"]).max() < limit
        floats = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
        assert sum(np.prod(t.dims) for t in floats) < 100
        kinds = {n.op_type for n in model.graph.node if TensorProto.FLOAT16 in [a.i for a in n.attribute]}
        assert kinds == {"Cast"}


def test_layer_norm_is_still_one_operator(exported: dict[str, ModelProto], integers: ModelProto) -> None:
    for base in (exported["step"], integers):
        before, after = (Counter(n.op_type for n in m.graph.node) for m in (base, to_half(base)))
        assert set(after - before) == {"Cast"}
        assert after["LayerNormalization"] == 11


def test_casts_belong_to_the_block_that_reads_them(exported: dict[str, ModelProto]) -> None:
    graph = to_half(exported["step"]).graph
    added = {n.output[0]: block_of(n.name) for n in graph.node if n.op_type == "Cast" and "__half" in n.output[0]}
    assert "patch embedding" in added.values()
    assert len({n.name for n in graph.node}) == len(graph.node)


def test_what_is_judged_is_really_rounded() -> None:
    """ONNX Runtime would compute between the first and the last conversion in float32."""
    steps = (node("Mul", ["m", "up"], "a"), node("Sub", ["a", "b"], "h", 2))
    model = model_of(*steps, up=1.0, b=1024.0)
    feed = {"x": np.float32([[1023.0, 1.25]])}
    # The sum is 1024.25; FP16 has no number between 1024 and 1025.
    assert GraphRunner.of_model(model).run(feed)["y"].tolist() == [[0.25, 0.25]]
    assert GraphRunner.of_model(rounded(to_half(model))).run(feed)["y"].tolist() == [[0.0, 0.0]]


def test_an_overflow_on_the_way_is_seen() -> None:
    steps = (node("Mul", ["m", "large"], "a"), node("Mul", ["a", "small"], "h", 2))
    model = model_of(*steps, weight=100.0, large=1000.0, small=1e-4)
    feed = {"x": np.float32([[1.0, 2.0]])}
    assert np.isfinite(GraphRunner.of_model(model).run(feed)["y"]).all()
    with pytest.raises(EngineError, match="not finite: y"):
        GraphRunner.of_model(rounded(to_half(model))).run(feed)


def test_a_weight_beyond_fp16_is_refused() -> None:
    with pytest.raises(EngineError, match="weight w overflows FP16"):
        to_half(model_of(node("Relu", ["m"], "h"), weight=1e6))


def test_a_constant_beyond_fp16_is_refused() -> None:
    """Such as a mask of the lowest float32 in a graph that the exporter did not make."""
    with pytest.raises(EngineError, match="weight mask overflows FP16"):
        to_half(model_of(node("Add", ["m", "mask"], "h"), mask=-3.4e38))
