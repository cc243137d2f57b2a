"""What our code asks of TensorRT exists with that signature in 10.3, 10.13, 10.16 and 11.4.

The bindings are NVIDIA's own; the libraries behind them are empty, so this proves names and signatures, not results.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from checker import check
from fetch_bindings import TENSORRT
from signatures import signatures

from jetvla.runtime.backends import fake_tensorrt, fake_tensorrt_builder

ROOT = Path(__file__).parents[2]
IMPORT = re.compile(r"^\s*(import|from) tensorrt\b", re.MULTILINE)
# What ENGINES.md calls the way of every version; a checker that overlooks it overlooks anything.
MUST_BE_SEEN = {
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "Builder.build_serialized_network",
    "IBuilderConfig.builder_optimization_level",
    "IBuilderConfig.progress_monitor",
    "IBuilderConfig.set_timing_cache(ignore_mismatch=)",
    "ITimingCache.serialize",
    "IProgressMonitor.step_complete",
    "OnnxParser.parse_from_file",
    "ParserError.desc",
    "Runtime.deserialize_cuda_engine",
    "ICudaEngine.get_tensor_mode",
    "IExecutionContext.set_tensor_address",
    "IExecutionContext.execute_async_v3(stream_handle=)",
    "EngineInspector.get_engine_information",
    "IExecutionContext.profiler",
    "IExecutionContext.enqueue_emits_profile",
    "IExecutionContext.report_to_profiler",
    "IProfiler.report_layer_time",
}


def our_sources() -> dict[str, str]:
    """Every file of the product that imports TensorRT."""
    paths = [p for folder in ("runtime", "calibration", "engines", "services") for p in (ROOT / folder).rglob("*.py")]
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}
    return {name: text for name, text in texts.items() if IMPORT.search(text)}


def problems(source: str, apis: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Problems of a piece of source by version."""
    return {version: check({"bad.py": source}, api).problems for version, api in apis.items()}


def test_the_bindings_are_those_of_the_version(tensorrt_apis: dict[str, dict[str, Any]]) -> None:
    assert {api["version"] for api in tensorrt_apis.values()} == set(TENSORRT)


def test_all_that_our_code_uses_exists(api: dict[str, Any]) -> None:
    report = check(our_sources(), api)
    assert report.problems == []
    assert report.uses >= MUST_BE_SEEN


@pytest.mark.parametrize(
    ("source", "says", "versions"),
    [
        ("from tensorrt import BuilderFlag", "import the module", set(TENSORRT)),
        ("trt.BuilderFlag.FP16", "no BuilderFlag.FP16", {"11.4.0.106"}),
        ("trt.BuilderFlag.INT8", "no BuilderFlag.INT8", {"11.4.0.106"}),
        ("trt.IInt8EntropyCalibrator2()", "no tensorrt.IInt8EntropyCalibrator2", {"11.4.0.106"}),
        ("trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "no .*EXPLICIT_BATCH", {"11.4.0.106"}),
        ("trt.Builder(log).platform_has_fast_fp16", "no Builder.platform_has_fast_fp16", {"11.4.0.106"}),
        ("engine.device_memory_size", "no ICudaEngine.device_memory_size", {"11.4.0.106"}),
        ("context.execute_async_v2([], 0)", "no IExecutionContext.execute_async_v2", set(TENSORRT)),
        ("context.set_binding_shape(0, (1,))", "no IExecutionContext.set_binding_shape", set(TENSORRT)),
        ("engine.num_bindings", "no ICudaEngine.num_bindings", set(TENSORRT)),
        ("trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY", "no .*SAME_COMPUTE_CAPABILITY", {"10.3.0"}),
        ("trt.BuilderFlag.EDITABLE_TIMING_CACHE", "no .*EDITABLE_TIMING_CACHE", {"10.3.0"}),
        ("engine.create_runtime_config()", "no ICudaEngine.create_runtime_config", {"10.3.0"}),
        ("context.execute_async_v3(stream=0)", "execute_async_v3 does not take", set(TENSORRT)),
        ("context.execute_async_v3()", "execute_async_v3 does not take", set(TENSORRT)),
        ("engine.create_execution_context().execute_async_v2([], 0)", "no .*execute_async_v2", set(TENSORRT)),
        ("with_(engine.create_execution_context()).x; later.execute", "not known whose", set(TENSORRT)),
    ],
)
def test_what_a_version_lacks_is_found(
    tensorrt_apis: dict[str, dict[str, Any]], source: str, says: str, versions: set[str]
) -> None:
    text = (
        "import tensorrt as trt\n"
        "def run(log: trt.ILogger, engine: trt.ICudaEngine, context: trt.IExecutionContext, later: Any):\n"
        f"    {source}\n"
    )
    found = problems(text, tensorrt_apis)
    assert {version for version, said in found.items() if said} == versions
    assert all(len(said) <= 1 for said in found.values())
    pattern = pytest.raises(AssertionError, match=says)
    with pattern:
        raise AssertionError("; ".join(text for said in found.values() for text in said))


SCATTERED = """
import tensorrt as trt
def library() -> Any:
    import tensorrt as trt
    return trt
class Engine:
    def __init__(self, engine: trt.ICudaEngine) -> None:
        self._context = engine.create_execution_context()
    def made(self) -> trt.IExecutionContext:
        return self._context
    def run(self, inputs: dict[str, int]) -> None:
        names = [self._context.execute_async_v2([n], 0) for n in inputs]
        if context := self.made():
            context.execute_v1()
        config = library().Builder(None).create_builder_config()
        config.max_workspace_size = 1
        config.progress_monitor = None
        with library() as trt:
            trt.BuilderFlag.FP17
        later = lambda c: c.enqueue()
class Monitor(trt.IProgressMonitor):
    def step_complete(self, phase_name: str) -> bool:
        return True
    def phase_end(self, phase_name: str) -> None:
        return None
"""


def test_no_place_in_a_source_is_overlooked(tensorrt_apis: dict[str, dict[str, Any]]) -> None:
    said = problems(SCATTERED, tensorrt_apis)["10.3.0"]
    for part in (
        "no IExecutionContext.execute_async_v2",
        "no IExecutionContext.execute_v1",
        "no IBuilderConfig.max_workspace_size",
        "no BuilderFlag.FP17",
        "not known whose attribute enqueue",
        "Monitor.step_complete overrides one with [2] parameters",
        "no IProgressMonitor.phase_end",
    ):
        assert any(part in problem for problem in said), part
    assert len(said) == 7


def fake_classes() -> dict[str, type]:
    """The fake's classes that play one of TensorRT's."""
    modules: tuple[ModuleType, ...] = (fake_tensorrt, fake_tensorrt_builder)
    found = {name: kind for m in modules for name, kind in vars(m).items() if inspect.isclass(kind)}
    return {name: kind for name, kind in found.items() if kind.__module__.startswith("jetvla.runtime.backends.fake")}


def test_the_fake_plays_only_what_the_real_ones_have(api: dict[str, Any]) -> None:
    played = {name: kind for name, kind in fake_classes().items() if name != "FakeTensorRt"}
    assert played.keys() <= api["classes"].keys()
    for name, kind in played.items():
        for member, function in inspect.getmembers(kind, inspect.isfunction):
            if member.startswith("_") or kind.__mro__[1] is not object:
                continue
            names = list(inspect.signature(function).parameters)[1:]
            real = signatures(api["classes"][name][member]["doc"], bound=True)
            assert any(s.takes(len(names), []) for s in real), f"{name}.{member}"
            assert any(s.names[: len(names)] == tuple(names) for s in real), f"{name}.{member}({names})"
