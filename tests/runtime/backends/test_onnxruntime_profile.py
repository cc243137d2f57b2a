"""What ONNX Runtime writes about its own runs, on real sessions and on files that are not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.backends.onnxruntime_profile import layer_times
from jetvla.runtime.errors import EngineError
from jetvla.runtime.manifest import GraphSpec

DATA = Path(__file__).parents[2] / "data"
INPUTS = {name: np.ones((1, 6), np.int64) for name in ("input_ids", "attention_mask")}
RUNS = 4


def event(name: str, ts: int, dur: int, cat: str = "Node") -> dict[str, Any]:
    args = {"op_name": "Add", "output_type_shape": [{"float": [1, 3]}, {"int64": []}]} if cat == "Node" else {}
    return {"cat": cat, "name": name, "ts": ts, "dur": dur, "args": args}


def written(folder: Path, *events: dict[str, Any]) -> Path:
    path = folder / "profile.json"
    path.write_text(json.dumps(events))
    return path


def test_each_kernel_is_counted_in_the_run_that_it_was_in(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        event("session_initialization", 0, 90, "Session"),
        # As the library writes them: a run behind its kernels.
        event("a/Add_1_kernel_time", 110, 3000),
        event("a/Add_1_kernel_time", 4000, 500),
        event("b/Add_2_kernel_time", 4600, 1000),
        event("model_run", 100, 9000, "Session"),
        event("b/Add_2_kernel_time", 20000, 7000),
        event("model_run", 19000, 9500, "Session"),
    )
    (first, second), runs_ms = layer_times(path)
    assert (first.name, first.kind, first.shapes, first.ms) == ("a/Add_1", "Add", ((1, 3), ()), (3.5, 0.0))
    assert (second.name, second.ms) == ("b/Add_2", (1.0, 7.0))
    assert runs_ms == (9.0, 9.5)


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([event("a_kernel_time", 50, 1), event("model_run", 100, 10, "Session")], "outside of every run"),
        ([{"name": "model_run"}], "'cat'|'dur'"),
        (["model_run"], "indices"),
    ],
)
def test_a_file_that_is_not_as_expected_is_named(tmp_path: Path, events: list[Any], says: str) -> None:
    with pytest.raises(EngineError, match=rf"profile\.json is no profile .*({says})"):
        layer_times(written(tmp_path, *events))


def test_a_file_that_was_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text('[{"cat": "Node"')
    with pytest.raises(EngineError, match=r"profile\.json is no profile"):
        layer_times(path)


def test_an_engine_tells_the_times_of_every_node_that_it_runs(tmp_path: Path, language: GraphSpec) -> None:
    options = EngineOptions(threads=1, profile=tmp_path)
    engine = load_backend("onnxruntime").open(DATA / "language.onnx", language, options)
    plain = load_backend("onnxruntime").open(DATA / "language.onnx", language, EngineOptions(threads=1))
    for _ in range(RUNS):
        assert engine.infer(INPUTS).keys() == plain.infer(INPUTS).keys()
    profile = engine.layer_profile()
    assert profile is not None
    assert len(profile.runs_ms) == RUNS
    assert all(len(layer.ms) == RUNS for layer in profile.layers)
    for run, total in enumerate(profile.runs_ms):
        assert 0 < sum(layer.ms[run] for layer in profile.layers) <= total
    assert profile.graph is not None
    assert profile.graph.is_file()


def test_without_the_option_there_are_no_times(language: GraphSpec) -> None:
    for backend in ("onnxruntime", "null"):
        engine = load_backend(backend).open(DATA / "language.onnx", language, EngineOptions(threads=1))
        engine.infer(INPUTS)
        assert engine.layer_profile() is None
