"""The TensorRT backend on a fake library and a fake GPU: in what order it asks, and what it does when they fail."""

from __future__ import annotations

import builtins
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.runtime.backends import Engine, EngineOptions, load_backend
from jetvla.runtime.backends import tensorrt as backend
from jetvla.runtime.backends.fake_tensorrt import FakeTensorRt
from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.manifest import GraphSpec, TensorSpec

MASK = np.array([[1, 1, 1, 0, 0, 0]])
FIRST: Mapping[str, NDArray[Any]] = {"input_ids": np.array([[2, 3, 4, 5, 0, 0]]), "attention_mask": MASK}
SECOND: Mapping[str, NDArray[Any]] = {"input_ids": np.array([[7, 8, 9, 9, 9, 9]]), "attention_mask": MASK}
STEP = ["upload", "upload", "upload", "upload", "execute", "download", "download"]


def opened(plan: Path, graph: GraphSpec) -> Engine:
    return load_backend("tensorrt").open(plan, graph, EngineOptions())


def features(engine: Engine, inputs: Mapping[str, NDArray[Any]]) -> list[float]:
    return engine.infer(inputs)["text_features"][0, :, 0].tolist()


def test_every_step_computes_anew_though_the_graph_and_the_buffers_are_the_same(
    trt: FakeTensorRt, plan: Path, language: GraphSpec
) -> None:
    engine = opened(plan, language)
    first = engine.infer(FIRST)
    assert features(engine, SECOND) == [7, 8, 9, 0, 0, 0]
    assert first["text_features"][0, :, 0].tolist() == [2, 3, 4, 0, 0, 0]


def test_a_step_is_queued_once_then_captured_then_replayed(trt: FakeTensorRt, plan: Path, language: GraphSpec) -> None:
    engine = opened(plan, language)
    opening = ["event", *STEP, "synchronize", "begin capture", *STEP, "end capture", "event", "synchronize"]
    assert trt.memory.calls == ["allocate"] * 4 + opening
    trt.memory.calls.clear()
    engine.infer(FIRST)
    engine.infer(SECOND)
    assert trt.memory.calls == ["event", "replay", "event", "synchronize"] * 2


def test_without_capture_every_step_is_queued_piece_by_piece(
    trt: FakeTensorRt, plan: Path, language: GraphSpec
) -> None:
    trt.memory.captures = False
    engine = opened(plan, language)
    trt.memory.calls.clear()
    assert features(engine, SECOND) == [7, 8, 9, 0, 0, 0]
    assert trt.memory.calls == ["event", *STEP, "event", "synchronize"]


def test_an_engine_that_cannot_be_captured_runs_all_the_same_and_says_so(
    trt: FakeTensorRt, plan: Path, language: GraphSpec, caplog: pytest.LogCaptureFixture
) -> None:
    trt.memory.fail_at = {"begin capture"}
    with caplog.at_level(logging.WARNING, "jetvla.engine"):
        engine = opened(plan, language)
    assert "no CUDA graph can be made" in caplog.text
    assert features(engine, SECOND) == [7, 8, 9, 0, 0, 0]


def test_a_moved_buffer_is_captured_anew(trt: FakeTensorRt, plan: Path, language: GraphSpec) -> None:
    engine: Any = opened(plan, language)
    buffer = engine._inputs["input_ids"]
    del trt.memory.buffers[buffer.address]
    buffer.address += 1
    trt.memory.buffers[buffer.address] = buffer
    engine._bind()
    trt.memory.calls.clear()
    assert features(engine, SECOND) == [7, 8, 9, 0, 0, 0]
    assert "replay" not in trt.memory.calls
    assert "begin capture" in trt.memory.calls
    trt.memory.calls.clear()
    engine.infer(FIRST)
    assert trt.memory.calls == ["event", "replay", "event", "synchronize"]


@pytest.mark.parametrize("fails", ["replay", "synchronize", "event"])
def test_a_failed_step_raises_and_the_next_starts_over(
    trt: FakeTensorRt, plan: Path, language: GraphSpec, fails: str
) -> None:
    engine = opened(plan, language)
    engine.infer(FIRST)
    trt.memory.fail_at = {fails}
    with pytest.raises(EngineError, match=r"a step of language\.onnx failed: .*fake GPU"):
        engine.infer(SECOND)
    trt.memory.fail_at = set()
    assert features(engine, SECOND) == [7, 8, 9, 0, 0, 0]


def test_what_tensorrt_complains_of_is_in_the_error(trt: FakeTensorRt, plan: Path, language: GraphSpec) -> None:
    trt.memory.captures = False
    engine = opened(plan, language)
    trt.refuse = {"execute_async_v3"}
    with pytest.raises(EngineError, match=r"a step of language\.onnx failed: execute_async_v3 refused"):
        engine.infer(FIRST)


def test_a_step_that_writes_nothing_is_no_answer(trt: FakeTensorRt, plan: Path, language: GraphSpec) -> None:
    engine = opened(plan, language)
    engine.infer(FIRST)
    trt.compute = lambda path, inputs: {}
    with pytest.raises(EngineError, match="did not write its output text_features"):
        engine.infer(SECOND)


def test_the_gpu_s_own_time_is_that_between_its_events(trt: FakeTensorRt, plan: Path, language: GraphSpec) -> None:
    engine = opened(plan, language)
    engine.infer(FIRST)
    # The fake's clock counts what the queue did: the first event, then the seven parts of the step and the replay.
    assert engine.gpu_ms() == 9


def profiled(plan: Path, graph: GraphSpec, folder: Path) -> Engine:
    return load_backend("tensorrt").open(plan, graph, EngineOptions(profile=folder))


def test_layers_are_timed_in_every_step_but_the_first(
    trt: FakeTensorRt, plan: Path, language: GraphSpec, tmp_path: Path
) -> None:
    trt.layers = (("embed", 0.25), ("reformat", 0.5), ("embed", 1.0))
    engine = profiled(plan, language, tmp_path)
    assert features(engine, FIRST) == [2, 3, 4, 0, 0, 0]
    assert features(engine, SECOND) == [7, 8, 9, 0, 0, 0]
    profile = engine.layer_profile()
    assert profile is not None
    assert [(layer.name, layer.ms) for layer in profile.layers] == [("embed", (1.25, 1.25)), ("reformat", (0.5, 0.5))]
    # The fake's clock counts what the queue did between its events.
    assert profile.runs_ms == (8.0, 8.0)


def test_steps_whose_layers_are_timed_are_never_replayed(
    trt: FakeTensorRt, plan: Path, language: GraphSpec, tmp_path: Path
) -> None:
    engine = profiled(plan, language, tmp_path)
    trt.memory.calls.clear()
    engine.infer(FIRST)
    engine.infer(SECOND)
    assert trt.memory.calls == ["event", *STEP, "event", "synchronize"] * 2


def test_layers_that_tensorrt_does_not_tell_fail_the_step(
    trt: FakeTensorRt, plan: Path, language: GraphSpec, tmp_path: Path
) -> None:
    engine = profiled(plan, language, tmp_path)
    trt.refuse = {"report_to_profiler"}
    with pytest.raises(EngineError, match=r"does not tell the times of its layers: report_to_profiler refused"):
        engine.infer(FIRST)


def test_an_engine_that_was_not_to_be_profiled_has_no_clock(trt: FakeTensorRt, plan: Path, language: GraphSpec) -> None:
    engine = opened(plan, language)
    engine.infer(FIRST)
    assert engine.layer_profile() is None
    assert "report_to_profiler" not in trt.calls


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("deserialize", "compile the bundle on this machine"),
        ("create_execution_context", "no execution context"),
        ("set_input_shape", "input input_ids cannot be"),
        ("infer_shapes", "needs more to know the shape of input_ids"),
        ("set_tensor_address", "cannot be bound to memory"),
    ],
)
def test_what_cannot_be_opened_says_why(
    trt: FakeTensorRt, plan: Path, language: GraphSpec, call: str, says: str
) -> None:
    trt.refuse = {call}
    with pytest.raises(EngineError, match=says):
        opened(plan, language)


def test_a_plan_that_differs_from_its_manifest_is_refused(trt: FakeTensorRt, plan: Path, language: GraphSpec) -> None:
    half = {name: TensorSpec(dtype="float16", shape=spec.shape) for name, spec in language.outputs.items()}
    with pytest.raises(EngineError, match=r"output text_features is float32 \[1, 6, 1\], not float16"):
        opened(plan, language.model_copy(update={"outputs": half}))


def test_an_onnx_file_is_sent_to_compile(trt: FakeTensorRt, tmp_path: Path, language: GraphSpec) -> None:
    with pytest.raises(EngineError, match="compile the bundle first: jetvla compile"):
        opened(tmp_path / "step.onnx", language)


def test_a_missing_plan_is_named(trt: FakeTensorRt, tmp_path: Path, language: GraphSpec) -> None:
    with pytest.raises(EngineError, match=r"cannot load .*gone\.plan"):
        opened(tmp_path / "gone.plan", language)


def test_another_version_of_tensorrt_or_another_gpu_is_another_machine(trt: FakeTensorRt) -> None:
    opened_backend = load_backend("tensorrt")
    assert opened_backend.version() == "10.3.0"
    assert opened_backend.machine().gpu == "Fake Orin"
    assert opened_backend.machine().compute_capability == "8.7"


def test_a_tensorrt_before_10_3_is_refused(trt: FakeTensorRt) -> None:
    trt.__version__ = "8.6.1"
    with pytest.raises(EngineError, match=r"TensorRT 8\.6\.1, and jetvla needs 10\.3 or newer"):
        load_backend("tensorrt").version()


def test_a_missing_tensorrt_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(backend, "JETSON", tmp_path / "none")
    with pytest.raises(MissingDependency, match=r"needs TensorRT, .*pip install tensorrt"):
        load_backend("tensorrt").version()
    (tmp_path / "release").touch()
    monkeypatch.setattr(backend, "JETSON", tmp_path / "release")
    with pytest.raises(MissingDependency, match="apt install python3-libnvinfer"):
        load_backend("tensorrt").version()


def test_a_tensorrt_without_its_libraries_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any) -> Any:
        if name == "tensorrt":
            raise ImportError("libnvinfer.so.10: cannot open shared object file")
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(EngineError, match=r"libraries cannot be loaded \(libnvinfer\.so\.10"):
        backend.library()


def test_without_a_driver_nothing_of_tensorrt_is_touched(
    trt: FakeTensorRt, plan: Path, language: GraphSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver() -> None:
        raise MissingDependency("the CUDA driver", "an engine on a GPU", "nvidia-jetpack")

    monkeypatch.setattr(backend, "find_gpu", no_driver)
    with pytest.raises(MissingDependency, match="CUDA driver"):
        opened(plan, language)
    assert trt.calls == []
    assert trt.loggers == []


def test_looking_up_backends_imports_neither_tensorrt_nor_cuda_nor_torch() -> None:
    code = (
        "import sys, jetvla.runtime.backends.tensorrt, jetvla.runtime.memory, jetvla.runtime.engine_cache; "
        "sys.exit(' '.join({'tensorrt', 'cuda', 'pycuda', 'torch', 'onnx', 'onnxruntime'} & set(sys.modules)) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
