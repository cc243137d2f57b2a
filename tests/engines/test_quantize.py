from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from jetvla.calibration.ranges import LEVELS
from jetvla.engines.graph import block_of, save_graph
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
def limits(exported: dict[str, ModelProto], feeds: list[Feed]) -> dict[str, float]:
    seen = collect_ranges(exported["step"], find_sites(exported["step"]), feeds)
    return {name: histogram.limit("mse") for name, histogram in seen.items()}


def test_only_inputs_of_weighted_nodes_are_quantized(exported: dict[str, ModelProto], limits: dict[str, float]) -> None:
    model = exported["step"]
    quantized = quantize(model, limits)
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
    exported: dict[str, ModelProto], limits: dict[str, float]
) -> None:
    model = exported["step"]
    floats = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    graph = quantize(model, limits).model.graph
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


def test_int8_is_near_float(exported: dict[str, ModelProto], limits: dict[str, float], feeds: list[Feed]) -> None:
    step, integers = (GraphRunner.of_model(m) for m in (exported["step"], quantize(exported["step"], limits).model))
    truth = np.array([step.run(f)["actions"] for f in feeds])
    error = np.array([integers.run(f)["actions"] for f in feeds]) - truth
    assert np.abs(error).max() > 0
    assert np.abs(error).mean() < 0.15 * truth.std(axis=0).mean()


def test_readers_of_one_activation_share_one_pair() -> None:
    model = _matmul(np.eye(2, dtype=np.float32))
    model.graph.node.append(helper.make_node("MatMul", ["x", "w"], ["other"], name="second"))
    kinds = Counter(node.op_type for node in quantize(model, {"x": 1.0}).model.graph.node)
    assert kinds == {"QuantizeLinear": 1, "DequantizeLinear": 2, "MatMul": 2, "Add": 1}


def test_onnx_runtime_computes_in_int8(
    exported: dict[str, ModelProto], limits: dict[str, float], tmp_path: Path
) -> None:
    """The point of it all: the products are INT8 kernels, not float ones behind dequantized weights."""
    save_graph(quantize(exported["step"], limits).model, tmp_path / "step.onnx")
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
    result = quantize(model, {"x": 1.27}).model
    stored = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    np.testing.assert_array_equal(stored["w__quantized"], [[127, 50], [-64, 127]])
    np.testing.assert_allclose(stored["w__scale"], [1.0, 0.01], rtol=1e-3)
    assert stored["x__scale"] == np.float16(0.01)
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
    exported: dict[str, ModelProto], limits: dict[str, float]
) -> None:
    first = find_sites(exported["step"])[0].activation
    rest = {name: limit for name, limit in limits.items() if name != first}
    result = quantize(exported["step"], rest)
    assert (result.quantized_nodes + result.float_nodes, result.float_nodes) == (len(find_sites(exported["step"])), 1)


def test_a_block_is_kept_in_float(exported: dict[str, ModelProto], limits: dict[str, float]) -> None:
    step, name = exported["step"], "ViT block 2 MLP"
    result = quantize(step, limits, {name})
    assert result.float_nodes == 2
    added = [n for n in result.model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert name not in {block_of(n.name) for n in added}
    assert {block_of(n.name) for n in added} == {site.block for site in find_sites(step)} - {name}
    # Every other node is where it was, and names stay unique.
    names = [n.name for n in result.model.graph.node]
    assert len(set(names)) == len(names)
    assert {n.name for n in step.graph.node} <= set(names)
    with pytest.raises(ValueError, match="no block ViT block 3 MLP"):
        quantize(step, limits, {name, "ViT block 3 MLP"})


def test_the_patch_embedding_is_quantized_too(exported: dict[str, ModelProto], limits: dict[str, float]) -> None:
    graph = quantize(exported["step"], limits).model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    (product,) = (n for n in graph.node if n.name.startswith("patch embedding/MatMul"))
    assert [made_by[name].op_type for name in product.input] == ["DequantizeLinear", "DequantizeLinear"]


def _conv(channels: int) -> tuple[ModelProto, np.ndarray]:
    """Of ``channels`` to 4, and its weight, in which every second output is 9 times as large."""
    weight = np.random.default_rng(0).normal(size=(4, channels, 3, 3)) * np.array([[[[1]]], [[[9]]]] * 2)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], name="eye/Conv_0", pads=[1, 1, 1, 1])],
        "eye",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), weight


def test_a_conv_is_quantized_per_output_channel() -> None:
    model, weight = _conv(4)
    image = np.random.default_rng(1).uniform(-2, 2, (1, 4, 6, 6)).astype(np.float32)
    result = quantize(model, {"x": 2.0}).model
    stored = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer}
    np.testing.assert_allclose(stored["w__scale"], np.abs(weight).max(axis=(1, 2, 3)) / LEVELS, rtol=1e-3)
    before, after = (GraphRunner.of_model(m).run({"x": image})["y"] for m in (model, result))
    assert 0 < np.abs(after - before).max() < 0.05 * np.abs(before).max()


def test_a_conv_of_an_image_s_three_channels_stays_in_float() -> None:
    assert find_sites(_conv(3)[0]) == []
    assert len(find_sites(_conv(8)[0])) == 1


def test_a_stack_of_weights_stays_in_float() -> None:
    """Its output channel is another axis; no policy has one."""
    model = _matmul(np.ones((2, 2), np.float32))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((1, 2, 2), np.float32), "w"))
    assert find_sites(model) == []


def test_onnx_runtime_s_own_quantizer_makes_the_same(
    exported: dict[str, ModelProto], feeds: list[Feed], tmp_path: Path
) -> None:
    """Same nodes, same samples: the same scales, but that ours are FP16 numbers, and the same integers, but where
    that rounding moves one across a half."""
    step = exported["step"]
    theirs = _by_onnx_runtime(step, feeds, tmp_path)
    seen = collect_ranges(step, find_sites(step), feeds)
    ours = quantize(step, {name: histogram.limit("max") for name, histogram in seen.items()}).model
    assert _pairs(theirs) == _pairs(ours)
    their_constants, our_constants = _constants(theirs), _constants(ours)
    for site in find_sites(step):
        for name, axis in ((site.activation, None), (site.weight, site.axis)):
            assert our_constants[name].zero == their_constants[name].zero == 0
            np.testing.assert_allclose(our_constants[name].scale, their_constants[name].scale, rtol=2**-11, atol=2**-25)
            if axis is not None:
                difference = our_constants[name].integers.astype(int) - their_constants[name].integers
                assert np.abs(difference).max() <= 1
                # FP16 rounds a scale by up to 2^-11, which is 1/16 of a step at 127.
                assert (difference != 0).mean() < 1 / 16
    # With our constants in it, their graph computes what ours does, but for the residual sums, which theirs gives
    # the rounded activation as well.
    assert _rounded_readers(theirs, repair=True) == {"Add": 6, "Concat": 1, "Slice": 1}
    assert _rounded_readers(ours, repair=False) == {}
    _exchange(theirs, our_constants)
    runners = [GraphRunner.of_model(model) for model in (step, ours, theirs)]
    truth, our, their = (np.array([runner.run(feed)["actions"] for feed in feeds]) for runner in runners)
    # They store the biases of the two Gemms as integers as well.
    assert np.abs(our - their).mean() < 0.01 * np.abs(our - truth).mean()


class Constants(NamedTuple):
    """What one tensor is quantized by; ``integers`` are a weight's."""

    scale: NDArray[np.float32]
    zero: int
    integers: NDArray[np.int8]


def _constants(model: ModelProto) -> dict[str, Constants]:
    """Of every quantized tensor, by its float name."""
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = {}
    for name, node in _quantized(model):
        scale, zero = stored[node.input[1]], stored[node.input[2]]
        found[name] = Constants(scale, int(np.abs(zero).max()), stored.get(node.input[0], np.zeros(0, np.int8)))
    return found


def _exchange(model: ModelProto, constants: dict[str, Constants]) -> None:
    """Put other scales and integers into ``model``."""
    tensors = {t.name: t for t in model.graph.initializer}
    for name, node in _quantized(model):
        if name in constants:
            pairs = [(node.input[1], constants[name].scale), (node.input[0], constants[name].integers)]
            for tensor, array in pairs if node.op_type == "DequantizeLinear" else pairs[:1]:
                tensors[tensor].CopyFrom(numpy_helper.from_array(array, tensor))


def _quantized(model: ModelProto) -> Iterator[tuple[str, NodeProto]]:
    """Q nodes of activations and DQ nodes of weights, with the float tensor's name."""
    stored = {t.name for t in model.graph.initializer}
    for node in model.graph.node:
        activation = node.op_type == "QuantizeLinear"
        if activation or (node.op_type == "DequantizeLinear" and node.input[0] in stored):
            yield node.input[0].removesuffix("_quantized").removesuffix("_"), node


def _rounded_readers(model: ModelProto, repair: bool) -> Counter[str]:
    """Which nodes besides products read a dequantized activation, and, to repair them, have them read the float."""
    floats = {
        node.output[0]: name
        for name, first in _quantized(model)
        for node in model.graph.node
        if first.op_type == "QuantizeLinear" and node.op_type == "DequantizeLinear" and node.input[0] == first.output[0]
    }
    found: Counter[str] = Counter()
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in floats and (node.op_type not in ("MatMul", "Gemm", "Conv") or index > 1):
                found[node.op_type] += 1
                node.input[index] = floats[name] if repair else name
    return found


def _pairs(model: ModelProto) -> set[tuple[str, bool, bool]]:
    """Which weighted nodes there are, by output, and which of their two inputs are dequantized."""
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    return {
        (node.output[0], *(made_by.get(name) == "DequantizeLinear" for name in node.input[:2]))
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm", "Conv")
    }


def _by_onnx_runtime(model: ModelProto, feeds: list[Feed], folder: Path) -> ModelProto:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        def __init__(self) -> None:
            self._left = iter(feeds)

        def get_next(self) -> Feed | None:
            return next(self._left, None)

    onnx.save(model, folder / "float.onnx")
    quantize_static(
        folder / "float.onnx",
        folder / "theirs.onnx",
        Reader(),
        nodes_to_quantize=[site.node for site in find_sites(model)],
        op_types_to_quantize=["MatMul", "Gemm", "Conv"],
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm", "Conv"],
        },
    )
    return onnx.load(folder / "theirs.onnx")


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
