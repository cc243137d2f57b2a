"""TensorRT itself, where it is installed: compile the tiny bundle, run it, and take it from the cache again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TINY = Path(__file__).parents[1] / "data" / "tiny-bundle"
NEEDED = ("tensorrt", "pydantic", "cryptography")
# Bundle, cache and compiled engine: what imports them is not everywhere.
Place = tuple[Any, Any, Any]


@pytest.fixture(scope="module")
def place(gpu: object, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The tiny bundle (FP32 alone is for TensorRT), compiled."""
    for library in NEEDED:
        pytest.importorskip(library, reason=f"{library} is not installed", exc_type=ImportError)
    from jetvla.engines.compile import compile_bundle
    from jetvla.engines.compile_contender import CompileOptions
    from jetvla.runtime.backends import load_backend
    from jetvla.runtime.bundle import Bundle
    from jetvla.runtime.engine_cache import EngineCache

    bundle, cache = Bundle.open(TINY, None), EngineCache(tmp_path_factory.mktemp("engines"))
    options = CompileOptions(optimization_level=1, workspace_mib=256, rounds=20)
    said: list[str] = []
    compiled = compile_bundle(bundle, load_backend("tensorrt"), cache, options, said.append)
    print("\n".join(said), compiled.entry.model_dump_json(indent=1))
    return bundle, cache, compiled


def test_the_engine_computes_what_the_checkpoint_did(place: Place) -> None:
    from jetvla.runtime.backends import load_backend
    from jetvla.runtime.engine_cache import engine_key

    bundle, cache, compiled = place
    assert cache.find(engine_key(bundle, load_backend("tensorrt"))) == compiled
    report = compiled.entry.candidates[0]
    assert report.golden_error is not None
    assert report.golden_error <= bundle.manifest.golden.tolerance["fp32"]
    assert report.median_ms is not None
    assert report.gpu_ms is not None
    assert 0 < report.gpu_ms <= report.median_ms


def test_the_inspector_s_report_names_layers(place: Place) -> None:
    report = json.loads((place[2].folder / "step.fp32.layers.json").read_text())
    assert report["Layers"]


def test_kernel_timings_are_kept(place: Place) -> None:
    from jetvla.runtime.backends import load_backend
    from jetvla.runtime.engine_cache import engine_key

    bundle, cache, _ = place
    assert len(cache.timings(engine_key(bundle, load_backend("tensorrt")))) > 0


def test_graph_replay_answers_each_input_anew(place: Place) -> None:
    from jetvla.engines.compile_judge import Judge
    from jetvla.runtime.backends import EngineOptions, load_backend

    bundle, _, compiled = place
    backend = load_backend("tensorrt")
    judge = Judge(bundle, backend, compiled.language(bundle), EngineOptions())
    engine: Any = judge.open(compiled.step(bundle))
    answers = [_answer(engine, judge._samples[i % 2][0]) for i in range(4)]
    np.testing.assert_array_equal(answers[0], answers[2])
    np.testing.assert_array_equal(answers[1], answers[3])
    assert np.abs(answers[0] - answers[1]).max() > 0
    assert engine.is_graph == (engine._memory.name == "cuda-bindings")


def _answer(engine: Any, inputs: Mapping[str, Any]) -> Any:
    return engine.infer(inputs)["actions"]


def test_a_plan_of_no_tensorrt_is_refused(place: Place, tmp_path: Path) -> None:
    from jetvla.runtime.backends import EngineOptions, load_backend
    from jetvla.runtime.errors import EngineError

    bundle, _, compiled = place
    part = compiled.step(bundle)
    (tmp_path / "bad.plan").write_bytes(part.path.read_bytes()[:1000])
    with pytest.raises(EngineError, match="compile the bundle on this machine"):
        load_backend("tensorrt").open(tmp_path / "bad.plan", part.graph, EngineOptions())


def test_the_time_of_layers_goes_to_blocks(place: Place) -> None:
    """Names of layers are TensorRT's own affair: this says whether those of this version are understood."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    from jetvla.engines.layers.profile import profile_layers
    from jetvla.runtime.config import PolicyConfig

    bundle, cache, _ = place
    config = PolicyConfig.model_validate({"backend": "tensorrt", "engines": cache.root})
    table = profile_layers(bundle, config, print).step
    print("\n".join(f"{row.ms:.4f} ms {row.name}" for row in table.rows), table)
    assert sum(row.ms for row in table.rows) + table.other_ms + table.rest_ms == pytest.approx(table.total_ms)
    assert sum(row.ms for row in table.rows) > 0
    assert table.other_ms < 0.5 * table.total_ms
