"""The CPU variant: each rewrite computes what the graph computed before, and ONNX Runtime runs it as intended."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from jetvla.engines.cpu.attention import fuse_attention
from jetvla.engines.cpu.gelu import fuse_gelu
from jetvla.engines.cpu.integers import to_integers
from jetvla.engines.cpu.opset import raise_opset
from jetvla.engines.cpu.processor import weight_levels
from jetvla.engines.cpu.products import split_products
from jetvla.engines.cpu.residuals import keep_residuals_apart
from jetvla.engines.cpu_graph import Candidate, cpu_candidates
from jetvla.engines.graph import save_graph
from jetvla.engines.runner import GraphRunner
from jetvla.runtime.errors import MissingDependency

Array = NDArray[Any]
BUNDLE = Path(__file__).parents[1] / "data" / "tiny-bundle"
STEP, CALIBRATED = BUNDLE / "step.fp32.onnx", BUNDLE / "step.int8-fp32.onnx"
TOKENS, WIDTH, HEADS, QUERIES = 7, 16, 4, 3


def kinds(model: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def run(model: ModelProto, inputs: dict[str, Array]) -> Array:
    (result,) = GraphRunner.of_model(model).run(inputs).values()
    return result


def step_inputs(model: ModelProto, seed: int = 0) -> dict[str, Array]:
    """Random inputs; the second half of the text is padding."""
    rng, made = np.random.default_rng(seed), dict[str, Array]()
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            made[value.name] = rng.integers(0, 256, shape, np.uint8)
        elif value.name == "text_mask":
            made[value.name] = (np.arange(shape[1]) < shape[1] // 2).astype(np.float32)[None]
        else:
            made[value.name] = rng.normal(size=shape).astype(np.float32)
    return made


def optimized(model: ModelProto, folder: Path) -> Counter[str]:
    """Kinds of the nodes that ONNX Runtime really runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return kinds(onnx.load(folder / "optimized.onnx"))


class Sketch:
    """A graph written down node by node; every node is of block ``block``."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.block = ""
        self._rng = np.random.default_rng(1)

    def node(self, kind: str, *inputs: str | float | Array, **how: Any) -> str:
        return self.nodes_of(kind, 1, *inputs, **how)[0]

    def nodes_of(self, kind: str, outputs: int, *inputs: str | float | Array, **how: Any) -> list[str]:
        name = f"{self.block}/{kind}_{len(self.nodes)}"
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        made = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, name=name, **how))
        return made

    def linear(self, x: str, rows: int, columns: int, bias: Array | None = None) -> str:
        product = self.node("MatMul", x, self.random(rows, columns))
        return self.node("Add", product, self.random(columns) if bias is None else bias)

    def norm(self, x: str) -> str:
        return self.node("LayerNormalization", x, 1 + self.random(WIDTH), self.random(WIDTH), epsilon=1e-5)

    def random(self, *shape: int) -> Array:
        return (0.3 * self._rng.normal(size=shape)).astype(np.float32)

    def heads(self, x: str, count: int, order: tuple[int, ...] = (0, 2, 1, 3)) -> str:
        shape = np.array([1, count, HEADS, WIDTH // HEADS])
        return self.node("Transpose", self.node("Reshape", x, shape), perm=list(order))

    def attention(self, query: str | Array, key: str, value: str, scores: Callable[[Sketch, str], str]) -> str:
        product = self.node("MatMul", query, key)
        mixed = self.node("MatMul", self.node("Softmax", scores(self, product), axis=-1), value)
        return self.node("Reshape", self.node("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([1, -1, WIDTH]))

    def model(self, result: str, **inputs: list[int]) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "step",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
            [onnx.ValueInfoProto(name=result)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        types = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.output}
        model.graph.output[0].CopyFrom(types[result])
        return model

    def _constant(self, value: float | Array) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, np.float32) if isinstance(value, float) else value
        return name


def act_like() -> ModelProto:
    """A post-norm layer with positions as an offset of the packed projection, and a cross-attention of constant
    queries: what is left of LeRobot's ACT after its image encoder."""
    s = Sketch()
    s.block = "encoder layer 1"
    packed = s.linear("x", WIDTH, 3 * WIDTH, s.random(1, TOKENS, 3 * WIDTH))
    q, k, v = s.nodes_of("Split", 3, packed, axis=2, num_outputs=3)
    mixed = s.attention(s.heads(q, TOKENS), s.heads(k, TOKENS, (0, 2, 3, 1)), s.heads(v, TOKENS), lambda _, p: p)
    x = s.norm(s.node("Add", "x", s.linear(mixed, WIDTH, WIDTH)))
    fed = s.linear(s.node("Relu", s.linear(x, WIDTH, 2 * WIDTH)), 2 * WIDTH, WIDTH)
    memory = s.norm(s.node("Add", x, fed))
    s.block = "decoder layer 1"
    k, v = s.linear(memory, WIDTH, WIDTH), s.linear(memory, WIDTH, WIDTH)
    across = s.node("Transpose", s.heads(k, TOKENS), perm=[0, 1, 3, 2])
    query = s.random(1, HEADS, QUERIES, WIDTH // HEADS)
    mixed = s.attention(query, across, s.heads(v, TOKENS), lambda t, p: t.node("Div", p, 2.0))
    out = s.norm(s.node("Add", s.random(1, QUERIES, WIDTH), s.linear(mixed, WIDTH, WIDTH)))
    s.block = "head"
    return s.model(
        s.node("Gemm", s.node("Reshape", out, np.array([3, WIDTH])), s.random(5, WIDTH), transB=1), x=[1, TOKENS, WIDTH]
    )


@pytest.fixture(scope="module", params=["tiny bundle", "ACT-like"])
def step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "tiny bundle":
        return STEP
    path = tmp_path_factory.mktemp("act") / "step.fp32.onnx"
    save_graph(act_like(), path)
    return path


def candidates(step: Path, *more: Any) -> dict[str, Candidate]:
    return {candidate.name: candidate for candidate in cpu_candidates(step, *more)}


def test_the_float_candidate_computes_the_same(step: Path) -> None:
    portable, candidate = onnx.load(step), candidates(step)["fused, float"]
    assert not candidate.integers
    for seed in range(3):
        inputs = step_inputs(portable, seed)
        np.testing.assert_allclose(run(candidate.model, inputs), run(portable, inputs), atol=2e-5)


def test_the_float_candidate_has_one_node_for_each_attention_and_gelu(step: Path, tmp_path: Path) -> None:
    portable, fused = kinds(onnx.load(step)), candidates(step)["fused, float"].model
    assert kinds(fused)["Attention"] == portable["Softmax"] > 0
    assert kinds(fused)["Gelu"] == portable["Erf"]
    assert not {"Softmax", "Erf", "Split"} & set(kinds(fused))
    assert "SkipLayerNormalization" not in optimized(fused, tmp_path)


def test_integers_stay_near_the_float_actions(step: Path) -> None:
    portable, candidate = onnx.load(step), candidates(step)["fused, dynamic INT8"]
    assert candidate.integers
    inputs = step_inputs(portable)
    truth = run(portable, inputs)
    difference = np.linalg.norm(run(candidate.model, inputs) - truth) / np.linalg.norm(truth)
    assert 1e-6 < difference < 0.05


def test_every_product_with_a_weight_is_in_integers(step: Path, tmp_path: Path) -> None:
    ran = optimized(candidates(step)["fused, dynamic INT8"].model, tmp_path)
    assert ran["DynamicQuantizeMatMul"] + ran["MatMulIntegerToFloat"] > 5
    assert not {"MatMul", "Gemm", "FusedGemm", "MatMulInteger", "SkipLayerNormalization"} & set(ran)


def test_inputs_and_outputs_stay(step: Path) -> None:
    portable = onnx.load(step)
    for candidate in candidates(step).values():
        assert list(candidate.model.graph.input) == list(portable.graph.input)
        assert list(candidate.model.graph.output) == list(portable.graph.output)
        onnx.checker.check_model(candidate.model)


def test_blocks_kept_in_float_are_in_float(tmp_path: Path) -> None:
    save_graph(act_like(), tmp_path / "step.onnx")
    model = candidates(tmp_path / "step.onnx", {"encoder layer 1", "head"})["fused, dynamic INT8"].model
    blocks = {(n.name.rpartition("/")[0], n.op_type) for n in model.graph.node}
    assert {block for block, kind in blocks if kind == "MatMulIntegerToFloat"} == {"decoder layer 1"}
    assert {block for block, kind in blocks if kind in ("MatMul", "Gemm")} == {"encoder layer 1", "head"}


def test_the_calibrated_candidate_has_the_integers_of_the_portable_graph() -> None:
    portable = onnx.load(CALIBRATED)
    candidate = candidates(STEP, (), CALIBRATED)["fused, calibrated INT8"]
    ours = {t.name: numpy_helper.to_array(t) for t in candidate.model.graph.initializer}
    theirs = [numpy_helper.to_array(t) for t in portable.graph.initializer if t.data_type == TensorProto.INT8]
    stacked = np.sort(np.concatenate([a.ravel() for a in theirs if a.ndim == 2]))
    mine = np.sort(np.concatenate([a.ravel() for a in ours.values() if a.dtype == np.int8]))
    np.testing.assert_array_equal(mine, stacked)
    inputs = step_inputs(portable)
    exact, quantized = run(onnx.load(STEP), inputs), run(portable, inputs)
    # Rounding differs where a float sum does, so the two agree only to a part of what quantization costs.
    assert np.abs(run(candidate.model, inputs) - quantized).max() < 0.5 * np.abs(quantized - exact).max()


def test_a_mask_is_kept_for_one_and_for_many_queries() -> None:
    for queries in (1, TOKENS):
        s = Sketch()
        q, k, v = (s.linear("x", WIDTH, WIDTH) for _ in range(3))
        if queries == 1:
            q = s.node("Slice", q, np.array([0]), np.array([1]), np.array([1]))
        masked = lambda t, p: t.node("Add", "mask", t.node("Mul", p, 0.5))  # noqa: E731
        out = s.attention(s.heads(q, queries), s.heads(k, TOKENS, (0, 2, 3, 1)), s.heads(v, TOKENS), masked)
        model = s.model(out, x=[1, TOKENS, WIDTH], mask=[1, 1, 1, TOKENS])
        mask = np.where(np.arange(TOKENS) < 4, 0, -1e4).astype(np.float32)[None, None, None]
        inputs = {"x": np.random.default_rng(0).normal(size=(1, TOKENS, WIDTH)).astype(np.float32), "mask": mask}
        before, unmasked = run(model, inputs), run(model, {**inputs, "mask": 0 * mask})
        raise_opset(model)
        fuse_attention(model)
        assert kinds(model)["Attention"] == 1
        np.testing.assert_allclose(run(model, inputs), before, atol=1e-6)
        assert np.abs(before - unmasked).max() > 1e-3


@pytest.mark.parametrize("wrong", ["keys", "values", "tokens", "merge", "scale"])
def test_what_only_resembles_attention_stays(wrong: str) -> None:
    s = Sketch()
    q, k, v = (s.linear("x", WIDTH, WIDTH) for _ in range(3))
    square = np.array([1, HEADS, HEADS, HEADS])
    cut = s.node("Reshape", k, square) if wrong == "keys" else s.heads(k, HEADS, (0, 2, 3, 1))
    if wrong == "tokens":
        v = s.node("Reshape", v, np.array([1, 2 * HEADS, WIDTH // 2]))
    values = s.node("Reshape", v, square) if wrong == "values" else s.heads(v, HEADS)
    scale = s.random(1, HEADS, 1, 1) if wrong == "scale" else 0.5
    out = s.attention(s.heads(q, HEADS), cut, values, lambda t, p: t.node("Mul", p, scale))
    if wrong == "merge":
        s.nodes[-2].attribute[0].ints[:] = [0, 2, 3, 1]
    model = s.model(out, x=[1, HEADS, WIDTH])
    raise_opset(model)
    fuse_attention(model)
    assert "Attention" not in kinds(model)


GELUS: dict[str, Callable[[Sketch, str], str]] = {
    "x * (half * rest)": lambda s, e: s.node("Mul", "x", s.node("Mul", 0.5, e)),
    "(x * rest) * half": lambda s, e: s.node("Mul", s.node("Mul", "x", e), 0.5),
    "(x * half) * rest": lambda s, e: s.node("Mul", s.node("Mul", "x", 0.5), e),
}


def gelu(form: str, root: float, one: float) -> ModelProto:
    s = Sketch()
    e = s.node("Add", s.node("Erf", s.node("Div", "x", root)), one)
    return s.model(GELUS[form](s, e), x=[1, 3, 50])


@pytest.mark.parametrize("form", GELUS)
def test_gelu_in_every_order_is_one_node(form: str) -> None:
    model, x = gelu(form, 2**0.5, 1.0), np.linspace(-6, 6, 150, dtype=np.float32).reshape(1, 3, 50)
    before = run(model, {"x": x})
    raise_opset(model)
    fuse_gelu(model)
    assert kinds(model) == {"Gelu": 1}
    np.testing.assert_allclose(run(model, {"x": x}), before, atol=1e-6)


@pytest.mark.parametrize(("root", "one"), [(2.0, 1.0), (2**0.5, 1.5)])
def test_what_only_resembles_gelu_stays(root: float, one: float) -> None:
    model = gelu("x * (half * rest)", root, one)
    raise_opset(model)
    fuse_gelu(model)
    assert kinds(model)["Erf"] == 1


def test_a_tensor_with_another_reader_keeps_its_nodes() -> None:
    s = Sketch()
    packed = s.linear("x", 4, 6)
    first, second = s.nodes_of("Split", 2, packed, axis=-1, num_outputs=2)
    result = s.node("Concat", first, second, packed, axis=-1)
    model, x = s.model(result, x=[1, 3, 4]), np.ones((1, 3, 4), np.float32)
    before = run(model, {"x": x})
    split_products(model)
    assert kinds(model) == {"MatMul": 1, "Add": 1, "Split": 1, "Concat": 1}
    np.testing.assert_array_equal(run(model, {"x": x}), before)


def test_residual_sums_are_the_same_numbers() -> None:
    s = Sketch()
    model = s.model(s.norm(s.node("Add", "x", s.linear("x", WIDTH, WIDTH))), x=[1, 5, WIDTH])
    x = {"x": np.random.default_rng(0).normal(size=(1, 5, WIDTH)).astype(np.float32)}
    before = run(model, x)
    keep_residuals_apart(model)
    assert kinds(model) == {"MatMul": 1, "Add": 1, "Sum": 1, "LayerNormalization": 1}
    np.testing.assert_allclose(run(model, x), before, atol=1e-6)


def test_a_zero_column_stays_zero() -> None:
    s = Sketch()
    weight = s.random(4, 3)
    weight[:, 1] = 0
    model = s.model(s.node("MatMul", "x", weight), x=[1, 2, 4])
    to_integers(model, 127)
    result = run(model, {"x": np.ones((1, 2, 4), np.float32)})
    np.testing.assert_allclose(result[0], np.ones((2, 4), np.float32) @ weight, atol=0.02)
    assert not result[..., 1].any()


@pytest.mark.parametrize(
    ("machine", "flags", "levels"),
    [
        ("x86_64", "avx2 avx512f avx512_vnni", 127),
        ("x86_64", "avx2 avx_vnni", 127),
        ("x86_64", "avx2 avx512f", 64),
        ("x86_64", None, 64),
        ("aarch64", "asimd", 127),
    ],
)
def test_weights_lose_a_bit_where_sums_would_overflow(
    machine: str, flags: str | None, levels: int, tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"processor : 0\nflags : fpu {flags} sse\n")
    assert weight_levels(machine, cpuinfo) == levels


def test_weights_keep_within_their_levels() -> None:
    s = Sketch()
    model = s.model(s.linear("x", 8, 8), x=[1, 2, 8])
    to_integers(model, 64)
    integers = [numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == TensorProto.INT8]
    assert max(int(np.abs(a.astype(int)).max()) for a in integers) == 64


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependency, match="pip install onnx"):
        next(cpu_candidates(STEP))


def with_text(
    spoiler: Callable[[Sketch, str], str] | None = None,
    masked: float = -1e4,
    read: int | None = 0,
    text: str = "given",
) -> ModelProto:
    """Vision and text tokens through two layers of masked attention; the result is token ``read``, or all."""
    s = Sketch()
    words = TOKENS - 4
    inverse = s.node("Sub", 1.0, "text_mask")
    padded = s.node("Concat", np.zeros((1, 4), np.float32), s.node("Mul", inverse, masked), axis=1)
    bias = s.node("Unsqueeze", padded, np.array([1, 2]))
    x = s.node("Concat", "vision", "text" if text == "given" else s.linear("text", WIDTH, WIDTH), axis=1)
    for queries in (TOKENS, 1 if read is not None else TOKENS):
        q, k, v = (s.linear(x, WIDTH, WIDTH) for _ in range(3))
        if queries == 1 and read is not None:
            x, q = (s.node("Slice", t, np.array([read]), np.array([read + 1]), np.array([1])) for t in (x, q))
        mixed = s.attention(
            s.heads(q, queries),
            s.heads(k, TOKENS, (0, 2, 3, 1)),
            s.heads(v, TOKENS),
            lambda t, p: t.node("Add", p, bias),
        )
        x = s.norm(s.node("Add", x, s.linear(mixed, WIDTH, WIDTH)))
        x = s.linear(s.node("Relu", s.linear(x, WIDTH, 8)), 8, WIDTH)
        if spoiler is not None and queries == TOKENS:
            x = spoiler(s, x)
    return s.model(x, vision=[1, 4, WIDTH], text=[1, words, WIDTH], text_mask=[1, words])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_padding_is_left_out_and_changes_nothing(count: int, tmp_path: Path) -> None:
    portable = with_text()
    save_graph(portable, tmp_path / "step.onnx")
    model = candidates(tmp_path / "step.onnx")["fused, float"].model
    assert [len(node.input) for node in model.graph.node if node.op_type == "Attention"] == [3, 3]
    inputs = step_inputs(portable)
    inputs["text_mask"] = (np.arange(3) < count).astype(np.float32)[None]
    before = run(portable, inputs)
    np.testing.assert_allclose(run(model, inputs), before, atol=1e-5)
    noise = {**inputs, "text": inputs["text"] + 5 * (1 - inputs["text_mask"][..., None])}
    np.testing.assert_array_equal(run(model, noise), run(model, inputs))
    if count:
        other = {**inputs, "text": inputs["text"] + 5}
        assert np.abs(run(model, other) - before).max() > 1e-3


def test_a_mask_with_a_gap_leaves_the_gap_out(tmp_path: Path) -> None:
    portable = with_text()
    save_graph(portable, tmp_path / "step.onnx")
    inputs = {**step_inputs(portable), "text_mask": np.array([[1, 0, 1]], np.float32)}
    model = candidates(tmp_path / "step.onnx")["fused, float"].model
    np.testing.assert_allclose(run(model, inputs), run(portable, inputs), atol=1e-5)


SPOILERS: dict[str, Callable[[Sketch, str], str]] = {
    "a mean over all tokens": lambda s, x: s.node("Add", x, s.node("ReduceMean", x, np.array([1]), keepdims=1)),
    "a softmax over all tokens": lambda s, x: s.node("Softmax", x, axis=1),
    "an offset for each token": lambda s, x: s.node("Add", x, s.random(1, TOKENS, WIDTH)),
}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_padding_stays_where_its_rows_may_matter(spoiler: str, tmp_path: Path) -> None:
    portable = with_text(SPOILERS[spoiler])
    save_graph(portable, tmp_path / "step.onnx")
    model = candidates(tmp_path / "step.onnx")["fused, float"].model
    assert [len(node.input) for node in model.graph.node if node.op_type == "Attention"] == [4, 4]
    inputs = step_inputs(portable)
    np.testing.assert_allclose(run(model, inputs), run(portable, inputs), atol=1e-5)


@pytest.mark.parametrize(("read", "left_out"), [(3, True), (4, False), (None, False)])
def test_padding_stays_where_a_text_token_is_the_result(read: int | None, left_out: bool, tmp_path: Path) -> None:
    save_graph(with_text(read=read), tmp_path / "step.onnx")
    model = candidates(tmp_path / "step.onnx")["fused, float"].model
    assert ("NonZero" in kinds(model)) == left_out


def test_padding_stays_where_text_is_computed(tmp_path: Path) -> None:
    portable = with_text(text="computed")
    save_graph(portable, tmp_path / "step.onnx")
    model, inputs = candidates(tmp_path / "step.onnx")["fused, float"].model, step_inputs(portable)
    assert "NonZero" not in kinds(model)
    np.testing.assert_allclose(run(model, inputs), run(portable, inputs), atol=1e-5)


def test_a_mask_that_only_weakens_stays(tmp_path: Path) -> None:
    save_graph(with_text(masked=-3.0), tmp_path / "step.onnx")
    model = candidates(tmp_path / "step.onnx")["fused, float"].model
    assert "NonZero" not in kinds(model)
