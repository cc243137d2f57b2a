"""Whole policies, profiled: portable, compiled for the CPU, and as plans of a fake TensorRT."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest

from jetvla.engines.blocks import multiplications
from jetvla.engines.compile import compile_bundle
from jetvla.engines.compile_contender import CompileOptions
from jetvla.engines.layers import profile as profiling
from jetvla.engines.layers.profile import PolicyProfile, profile_layers
from jetvla.engines.layers.roof import Roof
from jetvla.engines.layers.table import LayerTable
from jetvla.runtime.backends import load_backend
from jetvla.runtime.backends.base import LayerProfile
from jetvla.runtime.backends.fake_tensorrt import FakeTensorRt, installed, run_onnx
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.engine_cache import EngineCache
from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.memory.fake import FakeMemory
from jetvla.runtime.policy.model import Model

FUSION = ("first fusion layer", "fusion layer 2", "last fusion layer")


@pytest.fixture(autouse=True)
def roof(monkeypatch: pytest.MonkeyPatch) -> Roof:
    """Measured elsewhere."""
    monkeypatch.setattr(profiling, "measure_roof", lambda backend, threads, folder: Roof(100.0, 400.0))
    return Roof(100.0, 400.0)


@pytest.fixture
def bundle(built_folder: Path) -> Bundle:
    """Every precision."""
    return Bundle.open(built_folder / "bundle", None)


@pytest.fixture
def profiled(bundle: Bundle, tmp_path: Path) -> Callable[..., PolicyProfile]:
    def run(**keys: Any) -> PolicyProfile:
        chosen = {"backend": "onnxruntime", "threads": 1, "engines": tmp_path / "engines", **keys}
        return profile_layers(bundle, PolicyConfig.model_validate(chosen), lambda line: None)

    return run


def whole(table: LayerTable) -> float:
    return sum(row.ms for row in table.rows) + table.other_ms + table.rest_ms


def test_a_portable_policy_s_time_goes_to_its_blocks(profiled: Callable[..., PolicyProfile], bundle: Bundle) -> None:
    result = profiled(precision="fp32")
    step, language = result.step, result.language
    assert language is not None
    assert (result.variant, result.threads) == ("the bundle's graph, fp32", 1)
    assert [row.name for row in step.towers()] == ["vision", "fusion", "head"]
    assert [row.name for row in language.rows] == [
        "text embedding",
        *(f"text layer {n} {part}" for n in (1, 2) for part in ("attention", "feed-forward")),
        "text projection",
        "text keys and values",
    ]
    graphs = {name: onnx.load(bundle.file(f"{name}.fp32.onnx")) for name in ("step", "language")}
    # Of the positions that DeBERTa's tokens are apart: the same for every sentence.
    folded = {f"text layer {layer} attention/MatMul_{n}" for layer, n in ((1, 11), (1, 12), (2, 13), (2, 14))}
    assert folded < multiplications(graphs["language"]).keys()
    for table, graph in ((step, "step"), (language, "language")):
        assert table.runs == 15
        assert whole(table) == pytest.approx(table.total_ms)
        # The library's own clock counts all that its kernels do, and more.
        assert 0 < sum(ms for _, ms in table.kernels) < table.total_ms
        assert table.rest_ms > 0
        assert 0 <= table.other_ms < 0.5 * table.total_ms
        assert all(row.ms > 0 for row in table.rows)
        counted = sum(n for node, n in multiplications(graphs[graph]).items() if node not in folded)
        assert table.all_blocks().gop == pytest.approx(2e-9 * counted)


def test_what_was_compiled_is_profiled_in_its_place(
    profiled: Callable[..., PolicyProfile], bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, backend = EngineCache(tmp_path / "engines"), load_backend("onnxruntime")
    options = CompileOptions(rounds=2, threads=1)
    compiled = compile_bundle(bundle, backend, cache, options, lambda line: None)
    result = profiled()
    assert result.variant == f"{compiled.entry.candidate}, {compiled.entry.precision}"
    portable = profiled(precision="fp32" if compiled.entry.precision != "fp32" else "int8-fp32")
    assert portable.variant.startswith("the bundle's graph")
    assert [row.name for row in result.step.rows if row.gop] == [row.name for row in portable.step.rows if row.gop]


def test_int8_is_seen_where_it_runs(profiled: Callable[..., PolicyProfile]) -> None:
    rows = {row.name: row for row in profiled(precision="int8-fp32").step.rows}
    assert rows["ViT block 1 MLP"].float_gop == 0
    assert rows["ViT block 1 MLP"].of_roof(Roof(100.0, 400.0)) == pytest.approx(
        rows["ViT block 1 MLP"].integer_gop / 400 * 1e3 / rows["ViT block 1 MLP"].ms
    )


def test_a_backend_that_cannot_tell_is_named(profiled: Callable[..., PolicyProfile]) -> None:
    with pytest.raises(EngineError, match="backend null does not tell the times of its layers"):
        profiled(backend="null")


def test_a_report_that_lacks_runs_is_not_believed(
    profiled: Callable[..., PolicyProfile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime drops events when there are more than a million."""
    real = Model.layer_profiles

    def cut(self: Model) -> tuple[LayerProfile | None, LayerProfile | None]:
        step, language = real(self)
        assert step is not None
        return LayerProfile(step.layers, step.runs_ms[:-1], step.graph), language

    monkeypatch.setattr(Model, "layer_profiles", cut)
    with pytest.raises(EngineError, match="reports 32 runs of 33"):
        profiled(precision="fp32")


def test_without_onnx_the_extra_is_named(
    profiled: Callable[..., PolicyProfile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"a profile of layers needs onnx, .*jetvla\[build\]"):
        profiled()


@pytest.fixture
def trt(bundle: Bundle) -> Iterator[FakeTensorRt]:
    graphs = {spec.file: spec for spec in bundle.manifest.graphs.values()}
    with installed(FakeTensorRt(graphs, run_onnx, FakeMemory())) as fake:
        yield fake


def test_tensorrt_s_layers_go_to_the_same_blocks(
    trt: FakeTensorRt, bundle: Bundle, profiled: Callable[..., PolicyProfile], tmp_path: Path
) -> None:
    cache, backend = EngineCache(tmp_path / "engines"), load_backend("tensorrt")
    compiled = compile_bundle(bundle, backend, cache, CompileOptions(rounds=2), lambda line: None)
    graph = onnx.load(bundle.file(f"step.{compiled.entry.precision}.onnx")).graph
    vision = [node.name for node in graph.node if node.name.startswith("ViT block 2 MLP/MatMul")]
    last = [node.name for node in graph.node if node.name.startswith("action head/Gemm")]
    fusion = next(node.name for node in graph.node if node.name.startswith("first fusion layer attention/MatMul"))
    trt.layers = (
        (" + ".join(vision), 0.5),
        (f"{{ForeignNode[{fusion}...{last[-1]}]}}", 1.0),
        ("__myl_MulAdd_myl0_3", 0.25),
    )
    result = profiled(backend="tensorrt")
    assert (result.backend, result.threads, result.roof) == ("tensorrt 10.3.0", None, None)
    rows = {row.name: row for row in result.step.rows}
    assert rows["ViT block 2 MLP"].ms == 0.5
    region = rows["first fusion layer attention … action head"]
    assert (region.ms, region.tower) == (1.0, None)
    # No row has work that it was not timed for, but those that TensorRT did not report.
    assert {name for name in rows if name.startswith((*FUSION, "action head"))} == {region.name}
    assert result.step.other_ms == 0.25
    assert whole(result.step) == pytest.approx(result.step.total_ms)


def test_tensorrt_s_kernels_are_known_by_the_inspector_s_report(
    trt: FakeTensorRt,
    bundle: Bundle,
    profiled: Callable[..., PolicyProfile],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = next(
        node.name
        for node in onnx.load(bundle.file("step.fp32.onnx")).graph.node
        if node.name.startswith("ViT block 1 MLP/MatMul")
    )
    report = {"Layers": [{"Name": "__myl_Fc_myl0_3", "Metadata": f"[ONNX Layer: {node}]"}]}
    from jetvla.runtime.backends.fake_tensorrt import EngineInspector

    monkeypatch.setattr(EngineInspector, "get_engine_information", lambda self, format: json.dumps(report))
    cache, backend = EngineCache(tmp_path / "engines"), load_backend("tensorrt")
    compile_bundle(bundle, backend, cache, CompileOptions(rounds=2), lambda line: None)
    trt.layers = (("__myl_Fc_myl0_3", 0.5),)
    rows = {row.name: row.ms for row in profiled(backend="tensorrt").step.rows}
    assert rows["ViT block 1 MLP"] == 0.5
