from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from jetvla.engines.half import to_half
from jetvla.engines.quantize import collect_ranges, find_sites, quantize
from jetvla.engines.runner import GraphRunner
from jetvla.engines.smooth import collect_maxima, find_foldable, fold, smooth, smoothing_factors

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 5, 8)).astype(np.float32)
# Channel 2 is silent, channel 5 is not read, and channel 7 is an outlier.
GAIN = np.float32([1, 1, 0, 2, 0.5, 1, 1, 100])
BIAS = np.float32([0, 0.1, 0, 0, 0, 0, -0.1, 10])
WEIGHT = RNG.normal(size=(8, 6)).astype(np.float32)
WEIGHT[5] = 0


def normed(*readers: NodeProto, transposed: bool = False, norm_inputs: int = 3, axis: int = -1) -> ModelProto:
    """LayerNormalization ``n`` of ``x``, read by ``readers``; the outputs are ``y`` and whatever else they make."""
    norm = helper.make_node("LayerNormalization", ["x", "g", "b"][:norm_inputs], ["n"], name="a/LN_0", axis=axis)
    matmul = helper.make_node("MatMul", ["n", "w"], ["y"], name="a/MatMul_1")
    nodes = [norm, *(readers or (matmul,))]
    weights = {"g": GAIN, "b": BIAS, "w": WEIGHT, "v": WEIGHT[:, :3].copy()}
    used = {name for node in nodes for name in node.input}
    made = [name for node in nodes[1:] for name in node.output]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(X.shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 5, None]) for name in made],
        [numpy_helper.from_array(array, name) for name, array in weights.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def largest(model: ModelProto) -> NDArray[np.float32]:
    return collect_maxima(model, [{"x": X}])["n"]


def run(model: ModelProto) -> dict[str, NDArray[Any]]:
    return GraphRunner.of_model(model).run({"x": X})


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_not_one_bit_of_the_function_changes(alpha: float) -> None:
    model = normed()
    smoothed = smooth(model, collect_maxima(model, [{"x": X}]), alpha)
    assert run(smoothed)["y"].tobytes() == run(model)["y"].tobytes()
    assert smoothed.graph.node[0].input[1] != "g"
    assert model == normed()


def test_a_policy_computes_the_same(exported: dict[str, ModelProto]) -> None:
    step = exported["step"]
    feed = {v.name: np.ones([d.dim_value for d in v.type.tensor_type.shape.dim], np.float32) for v in step.graph.input}
    feed["image_front"] = RNG.integers(0, 256, (1, 32, 32, 3), np.uint8)
    maxima = collect_maxima(step, [feed])
    # Before attention and MLP of both ViT blocks, and before the projection. What the fusion normalises goes on as a
    # residual too.
    assert len(maxima) == 5
    before, after = (GraphRunner.of_model(model).run(feed)["actions"] for model in (step, smooth(step, maxima)))
    np.testing.assert_array_equal(after, before)
    assert [node.op_type for node in smooth(step, maxima).graph.node] == [node.op_type for node in step.graph.node]


def test_the_factor_is_between_activation_and_weight() -> None:
    model, maxima = normed(), largest(normed())
    rows = np.abs(WEIGHT).max(axis=1)
    factors = smoothing_factors(model, {"n": maxima})["n"]
    assert factors[2] == factors[5] == 1
    exact = np.sqrt(maxima / np.where(rows > 0, rows, 1))
    heard = [0, 1, 3, 4, 6, 7]
    for channel in heard:
        assert np.log2(factors[channel]) == round(np.log2(exact[channel]))
    # Alpha 1 makes the channels equal, but for the rounding to a power of two.
    equal = largest(smooth(model, {"n": maxima}, 1.0))[heard]
    assert equal.max() / equal.min() <= 2
    assert maxima[heard].max() / maxima[heard].min() > 100


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_has_a_range(alpha: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        smooth(normed(), {"n": largest(normed())}, alpha)


def test_int8_gets_better_where_a_channel_is_an_outlier() -> None:
    model = normed()
    truth = run(model)["y"]
    errors = []
    for made in (model, smooth(model, {"n": largest(model)})):
        ranges = collect_ranges(made, find_sites(made), [{"x": X}])
        quantized = quantize(made, {name: seen.largest for name, seen in ranges.items()}).model
        errors.append(float(np.square(run(quantized)["y"] - truth).mean()))
    assert errors[1] < errors[0] / 4


def test_all_readers_are_scaled() -> None:
    readers = [
        helper.make_node("MatMul", ["n", "w"], ["y"], name="a/MatMul_1"),
        helper.make_node("MatMul", ["n", "v"], ["z"], name="b/MatMul_2"),
    ]
    model = normed(*readers)
    (foldable,) = find_foldable(model)
    assert [site.node for site in foldable.sites] == ["a/MatMul_1", "b/MatMul_2"]
    smoothed = smooth(model, {"n": largest(model)})
    for name in ("y", "z"):
        np.testing.assert_array_equal(run(smoothed)[name], run(model)[name])


def test_transposed_weights_are_scaled_along_their_rows() -> None:
    norm = helper.make_node("LayerNormalization", ["x", "g", "b"], ["n"], name="LN_0")
    flat = helper.make_node("Gemm", ["n", "w"], ["y"], name="Gemm_1", transB=1)
    graph = helper.make_graph(
        [norm, flat],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 6])],
        [numpy_helper.from_array(a, n) for n, a in {"g": GAIN, "b": BIAS, "w": WEIGHT.T.copy()}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    feed = {"x": X[0]}
    smoothed = smooth(model, collect_maxima(model, [feed]))
    assert smoothed.graph.node[1].input[1] != "w"
    before, after = (GraphRunner.of_model(m).run(feed)["y"] for m in (model, smoothed))
    np.testing.assert_array_equal(after, before)


def test_a_norm_without_bias_and_gains_that_others_read() -> None:
    other = helper.make_node("LayerNormalization", ["x", "g"], ["z"], name="b/LN_2")
    model = normed(helper.make_node("MatMul", ["n", "w"], ["y"], name="a/MatMul_1"), other, norm_inputs=2)
    smoothed = smooth(model, {"n": largest(model)})
    for name in ("y", "z"):
        np.testing.assert_array_equal(run(smoothed)[name], run(model)[name])


@pytest.mark.parametrize(
    "reader",
    [
        helper.make_node("Add", ["n", "x"], ["z"], name="residual"),
        helper.make_node("MatMul", ["n", "v"], ["z"], name="left", domain=""),
    ],
)
def test_a_norm_that_something_else_reads_is_left_alone(reader: NodeProto) -> None:
    if reader.op_type == "MatMul":
        reader.input[:] = ["v", "n"]
    model = normed(helper.make_node("MatMul", ["n", "w"], ["y"], name="a/MatMul_1"), reader)
    assert find_foldable(model) == []


def test_a_norm_that_is_an_output_is_left_alone() -> None:
    model = normed()
    model.graph.output.append(helper.make_tensor_value_info("n", TensorProto.FLOAT, list(X.shape)))
    assert find_foldable(model) == []


def test_a_norm_over_more_than_channels_is_left_alone() -> None:
    assert find_foldable(normed(axis=1)) == []


def test_what_cannot_be_folded_is_refused() -> None:
    with pytest.raises(ValueError, match="'y'"):
        fold(normed(), {"y": np.ones(6, np.float32)})


def test_maxima_are_of_all_samples() -> None:
    def samples() -> Iterator[dict[str, NDArray[np.float32]]]:
        for scale in (1, 30, 2):
            yield {"x": X * np.linspace(1, scale, 8, dtype=np.float32)}

    model = normed()
    each = [collect_maxima(model, [sample])["n"] for sample in samples()]
    np.testing.assert_array_equal(collect_maxima(model, samples())["n"], np.max(each, axis=0))
    assert each[0].tolist() != each[1].tolist()


def test_smoothed_graphs_still_fit_fp16() -> None:
    model = smooth(normed(), {"n": largest(normed()) * 1e6})
    ends = [helper.make_node("Mul", ["y", "one"], ["out"], name="/Mul_9")]
    model.graph.node.extend(ends)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
    model.graph.output[0].name = "out"
    assert np.isfinite(GraphRunner.of_model(to_half(model)).run({"x": X})["out"]).all()
