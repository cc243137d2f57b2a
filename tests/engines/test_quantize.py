from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from jetvla.calibration.ranges import LEVELS, AbsoluteHistogram
from jetvla.engines.graph import save_graph
from jetvla.engines.half import to_half
from jetvla.engines.quantize import collect_ranges, find_sites, quantize
from jetvla.engines.runner import GraphRunner
from jetvla.runtime.errors import EngineError

Feed = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def feeds(exported: dict[str, ModelProto]) -> list[Feed]:
    """Step inputs: random images, and the language of random ids."""
    rng, language = np.random.default_rng(0), GraphRunner.of_model(exported["language"])
    made = []
    for _ in range(8):
        ids, mask = rng.integers(1, 12, (1, 12)), np.ones((1, 12), np.int64)
        image = rng.integers(0, 256, (1, 32, 32, 3), np.uint8)
        made.append({"image_front": image, **language.run({"input_ids": ids, "attention_mask": mask})})
    return made


@pytest.fixture(scope="module")
def histograms(exported: dict[str, ModelProto], feeds: list[Feed]) -> dict[str, AbsoluteHistogram]:
    return collect_ranges(exported["step"], find_sites(exported["step"]), feeds)


def test_only_inputs_of_weighted_nodes_are_quantized(
    exported: dict[str, ModelProto], histograms: dict[str, AbsoluteHistogram]
) -> None:
    model = exported["step"]
    quantized = quantize(model, histograms)
    weights = {t.name for t in model.graph.initializer}
    weighted = [n for n in model.graph.node if n.op_type in ("MatMul", "Gemm", "Conv") and n.input[1] in weights]
    assert (quantized.quantized_nodes, quantized.float_nodes) == (len(weighted), 0)
    graph = quantized.model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    names = {node.name for node in weighted}
    for node in graph.node:
        from_pairs = [made_by[n].op_type == "DequantizeLinear" for n in node.input if n in made_by]
        if node.name in names:
            assert from_pairs == [True, True], node.name
        elif node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            assert not any(from_pairs), node.name
    # One pair per activation, however many read it.
    pairs = Counter(n.input[0] for n in graph.node if n.op_type == "QuantizeLinear")
    assert set(pairs.values()) == {1}
    assert set(pairs) == {n.input[0] for n in weighted}


def test_weights_are_stored_as_int8_per_output_channel(
    exported: dict[str, ModelProto], histograms: dict[str, AbsoluteHistogram]
) -> None:
    model = exported["step"]
    floats = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    graph = quantize(model, histograms).model.graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for site in find_sites(model):
        assert site.weight not in stored
        integers, scale = stored[f"{site.weight}__quantized"], stored[f"{site.weight}__scale"]
        assert integers.dtype == np.int8
        assert scale.shape == (integers.shape[site.axis],)
        back = np.moveaxis(np.moveaxis(integers, site.axis, -1) * scale, -1, site.axis)
        limit = np.moveaxis(np.broadcast_to(scale, np.moveaxis(integers, site.axis, -1).shape), -1, site.axis)
        # Half a step, and a little for the scale's own rounding to FP16, which may clip the largest weight.
        assert (np.abs(back - floats[site.weight]) <= 0.57 * limit).all()


def test_int8_is_near_float(
    exported: dict[str, ModelProto], histograms: dict[str, AbsoluteHistogram], feeds: list[Feed]
) -> None:
    step, integers = (GraphRunner.of_model(m) for m in (exported["step"], quantize(exported["step"], histograms).model))
    truth = np.array([step.run(f)["actions"] for f in feeds])
    error = np.array([integers.run(f)["actions"] for f in feeds]) - truth
    assert np.abs(error).max() > 0
    assert np.abs(error).mean() < 0.15 * truth.std(axis=0).mean()


def test_readers_of_one_activation_share_one_pair() -> None:
    model = _matmul(np.eye(2, dtype=np.float32))
    model.graph.node.append(helper.make_node("MatMul", ["x", "w"], ["other"], name="second"))
    histogram = AbsoluteHistogram()
    histogram.add(np.ones(1, np.float32))
    kinds = Counter(node.op_type for node in quantize(model, {"x": histogram}).model.graph.node)
    assert kinds == {"QuantizeLinear": 1, "DequantizeLinear": 2, "MatMul": 2, "Add": 1}


def test_onnx_runtime_computes_in_int8(
    exported: dict[str, ModelProto], histograms: dict[str, AbsoluteHistogram], tmp_path: Path
) -> None:
    """The point of it all: the products are INT8 kernels, not float ones behind dequantized weights."""
    save_graph(quantize(exported["step"], histograms).model, tmp_path / "step.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(tmp_path / "step.onnx"), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx").graph
    integer = [n for n in optimized.node if n.op_type == "MatMulIntegerToFloat"]
    weights = {t.name for t in exported["step"].graph.initializer}
    products = [n for n in exported["step"].graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    assert len(integer) == len(products)


def test_one_matmul_by_hand() -> None:
    weight = np.float32([[127, 0.5], [-64, 1.27]])
    model = _matmul(weight)
    histogram = AbsoluteHistogram()
    histogram.add(np.linspace(-1.27, 1.27, 100_000, dtype=np.float32))
    result = quantize(model, {"x": histogram}).model
    stored = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    np.testing.assert_array_equal(stored["w__quantized"], [[127, 50], [-64, 127]])
    np.testing.assert_allclose(stored["w__scale"], [1.0, 0.01], rtol=1e-3)
    assert stored["x__scale"] == pytest.approx(1.27 / LEVELS, rel=0.03)
    actions = GraphRunner.of_model(result).run({"x": np.float32([[0.1, 0.2]])})["y"]
    np.testing.assert_allclose(actions, np.float32([[0.1, 0.2]]) @ weight, atol=0.6)


def test_ranges_are_of_all_samples_and_one_sample_is_in_memory() -> None:
    alive, most = 0, 0

    class Sample(dict[str, Any]):
        def __init__(self, value: float) -> None:
            nonlocal alive, most
            super().__init__(x=np.full((1, 2), value, np.float32))
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def samples() -> Iterator[Sample]:
        yield from (Sample(float(value)) for value in range(1, 51))

    model = _matmul(np.eye(2, dtype=np.float32))
    histogram = collect_ranges(model, find_sites(model), samples())["x"]
    assert (histogram.largest, histogram.counts.sum()) == (50, 100)
    assert most <= 2


def test_an_activation_that_is_not_calibrated_stays_in_float(
    exported: dict[str, ModelProto], histograms: dict[str, AbsoluteHistogram]
) -> None:
    first = find_sites(exported["step"])[0].activation
    rest = {name: h for name, h in histograms.items() if name != first}
    result = quantize(exported["step"], rest)
    assert (result.quantized_nodes + result.float_nodes, result.float_nodes) == (len(find_sites(exported["step"])), 1)


def test_half_is_near_float_and_keeps_its_interface(
    exported: dict[str, ModelProto], histograms: dict[str, AbsoluteHistogram], feeds: list[Feed]
) -> None:
    step = exported["step"]
    single = GraphRunner.of_model(step)
    for model, limit in ((to_half(step), 0.01), (to_half(quantize(step, histograms).model), 0.3)):
        runner = GraphRunner.of_model(model)
        assert (model.graph.input, model.graph.output) == (step.graph.input, step.graph.output)
        for feed in feeds:
            assert np.abs(runner.run(feed)["actions"] - single.run(feed)["actions"]).max() < limit
        floats = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
        assert sum(np.prod(t.dims) for t in floats) < 100
        kinds = {n.op_type for n in model.graph.node if TensorProto.FLOAT16 in [a.i for a in n.attribute]}
        assert kinds == {"Cast"}


def test_a_weight_beyond_fp16_is_refused() -> None:
    with pytest.raises(EngineError, match="weight w overflows FP16"):
        to_half(_matmul(np.float32([[1e6, 0], [0, 1]])))


def test_a_graph_that_overflows_is_refused() -> None:
    runner = GraphRunner.of_model(_matmul(np.float32([[3e38, 0], [3e38, 1]])))
    with pytest.raises(EngineError, match="not finite: y"):
        runner.run({"x": np.float32([[3e38, 3e38]])})


def _matmul(weight: NDArray[np.float32]) -> ModelProto:
    node = helper.make_node("MatMul", ["x", "w"], ["m"], name="matmul")
    after = helper.make_node("Add", ["m", "zero"], ["y"], name="add")
    graph = helper.make_graph(
        [node, after],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.zeros(2, np.float32), "zero")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
