"""``compile``: every candidate is proved and timed, the right one is kept, and the cache is never left half-made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from jetvla.engines import compile_cpu
from jetvla.engines.compile import compile_bundle
from jetvla.engines.compile_contender import CompileOptions
from jetvla.engines.compile_judge import Judge, Tally
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.backends.fake_tensorrt import FakeTensorRt, installed, run_onnx
from jetvla.runtime.bundle import MANIFEST, Bundle, digest_file
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.engine_cache import EngineCache, engine_key
from jetvla.runtime.engine_entry import CompiledEngine
from jetvla.runtime.engine_key import Machine
from jetvla.runtime.errors import EngineError
from jetvla.runtime.memory.fake import FakeMemory
from jetvla.runtime.policy.golden import run_golden
from jetvla.runtime.policy.model import open_model

QUICK = CompileOptions(rounds=2, threads=1)


@dataclass
class Rewritten:
    """A stand-in for what ``cpu_candidates`` yields."""

    name: str
    model: ModelProto
    integers: bool


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    """FP32 and INT8 with an FP32 body."""
    return Bundle.open(tiny_bundle, None)


@pytest.fixture
def jetson_bundle(tmp_path: Path, tiny_bundle: Path) -> Bundle:
    """As if built for a Jetson: the FP32 step also as ``fp16``, and the INT8 one as ``int8-fp16``."""
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    for source, precision in (("fp32", "fp16"), ("int8-fp32", "int8-fp16")):
        file = f"step.{precision}.onnx"
        shutil.copy(folder / f"step.{source}.onnx", folder / file)
        manifest["graphs"][f"step.{precision}"] = {**manifest["graphs"][f"step.{source}"], "file": file}
        manifest["files"][file] = digest_file(folder / file).model_dump()
        manifest["golden"]["tolerance"][precision] = manifest["golden"]["tolerance"][source]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return Bundle.open(folder, None)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


@pytest.fixture
def trt(jetson_bundle: Bundle) -> Iterator[FakeTensorRt]:
    graphs = {spec.file: spec for spec in jetson_bundle.manifest.graphs.values()}
    with installed(FakeTensorRt(graphs, run_onnx, FakeMemory())) as fake:
        yield fake


@pytest.fixture
def rewritten(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> list[Rewritten]:
    """What ``cpu_candidates`` will yield: the portable graphs under other names, to be changed by a test."""
    fp32, int8 = (onnx.load(bundle.file(f"step.{p}.onnx")) for p in ("fp32", "int8-fp32"))
    made = [Rewritten("cpu-fp32", fp32, False), Rewritten("cpu-int8", int8, True)]
    module: Any = ModuleType("jetvla.engines.cpu_graph")
    module.cpu_candidates = lambda step, keep_float, calibrated: iter(made)
    monkeypatch.setitem(sys.modules, "jetvla.engines.cpu_graph", module)
    return made


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Milliseconds by candidate, in place of measured ones; those that are not named take 10."""
    times: dict[str, float] = {}

    def race(self: Judge, engines: Mapping[str, Any], rounds: int) -> dict[str, Tally]:
        return {name: Tally(times.get(name, 10.0), (1.0, 20.0), None) for name in engines}

    monkeypatch.setattr(Judge, "race", race)
    return times


def compiled(bundle: Bundle, name: str, cache: EngineCache, options: CompileOptions = QUICK) -> CompiledEngine:
    compile_bundle(bundle, load_backend(name), cache, options, lambda line: None)
    found = cache.find(engine_key(bundle, load_backend(name)))
    assert found is not None
    return found


def verdicts(engine: CompiledEngine) -> dict[str, str]:
    return {report.name: report.verdict for report in engine.entry.candidates}


def actions(engine: CompiledEngine, bundle: Bundle, name: str) -> Any:
    """What the entry's step answers to the first golden sample."""
    backend = load_backend(name)
    judge = Judge(bundle, backend, engine.language(bundle), EngineOptions(threads=1))
    return judge.golden_error(judge.open(engine.step(bundle)))


def test_every_candidate_for_a_cpu_is_proved_and_timed(
    bundle: Bundle, cache: EngineCache, rewritten: list[Rewritten]
) -> None:
    engine = compiled(bundle, "onnxruntime", cache)
    reports = {report.name: report for report in engine.entry.candidates}
    assert list(reports) == ["fp32", "int8-fp32", "cpu-fp32", "cpu-int8"]
    for report in reports.values():
        assert report.golden_error is not None
        assert report.tolerance == bundle.manifest.golden.tolerance[report.precision]
        assert report.golden_error <= report.tolerance
        assert report.median_ms is not None
        assert report.quartiles_ms is not None
        assert report.quartiles_ms[0] <= report.median_ms <= report.quartiles_ms[1]
    assert reports["cpu-int8"].precision == "int8-fp32"
    assert list(verdicts(engine).values()).count("chosen") == 1
    assert (engine.entry.rounds, engine.entry.options["threads"]) == (2, "1")
    assert engine.entry.environment["cores"]
    assert actions(engine, bundle, "onnxruntime") <= reports[engine.entry.candidate].tolerance


def test_a_portable_winner_lies_in_the_bundle_and_a_rewritten_one_in_the_cache(
    bundle: Bundle, cache: EngineCache, rewritten: list[Rewritten], pretend: dict[str, float]
) -> None:
    pretend["fp32"] = 5.0
    engine = compiled(bundle, "onnxruntime", cache)
    assert engine.step(bundle).path == bundle.file("step.fp32.onnx")
    assert [path.name for path in engine.folder.iterdir()] == ["entry.json"]
    pretend["cpu-int8"] = 4.0
    engine = compiled(bundle, "onnxruntime", cache)
    assert (engine.entry.candidate, engine.entry.precision) == ("cpu-int8", "int8-fp32")
    assert engine.step(bundle).path == engine.folder / "step.cpu-int8.onnx"
    assert sorted(path.name for path in engine.folder.iterdir()) == ["entry.json", "step.cpu-int8.onnx"]
    assert actions(engine, bundle, "onnxruntime") < 1


def test_a_candidate_that_computes_wrong_actions_is_not_even_timed(
    bundle: Bundle, cache: EngineCache, rewritten: list[Rewritten], pretend: dict[str, float]
) -> None:
    pretend["cpu-fp32"] = 0.1
    for tensor in rewritten[0].model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
    engine = compiled(bundle, "onnxruntime", cache)
    assert verdicts(engine)["cpu-fp32"].startswith("computes wrong actions: golden error")
    assert engine.entry.candidates[2].median_ms is None


def test_a_candidate_that_cannot_be_loaded_says_so(
    bundle: Bundle, cache: EngineCache, rewritten: list[Rewritten], pretend: dict[str, float]
) -> None:
    rewritten[0].model.graph.node[0].op_type = "NoSuchOperator"
    assert verdicts(compiled(bundle, "onnxruntime", cache))["cpu-fp32"].startswith("does not run: ")


def test_int8_that_build_did_not_write_is_not_made_for_the_cpu_either(
    tmp_path: Path, cache: EngineCache, tiny_bundle: Path, rewritten: list[Rewritten], pretend: dict[str, float]
) -> None:
    folder = tmp_path / "float"
    shutil.copytree(tiny_bundle, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / manifest["graphs"].pop("step.int8-fp32")["file"]).unlink()
    del manifest["files"]["step.int8-fp32.onnx"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    engine = compiled(Bundle.open(folder, None), "onnxruntime", cache)
    assert list(verdicts(engine)) == ["fp32", "cpu-fp32"]


def test_blocks_that_build_kept_in_float_stay_so(bundle: Bundle, rewritten: list[Rewritten]) -> None:
    def block(name: str, precision: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, precision=precision)

    int8 = SimpleNamespace(precision="int8-fp32", blocks=(block("head", "float"), block("ViT block 0", "int8")))
    half = SimpleNamespace(precision="int8-fp16", blocks=(block("ViT block 1", "float"),))
    manifest: Any = SimpleNamespace(precision=(int8, half))
    assert compile_cpu.kept_float(manifest) == {"head"}


def test_without_onnx_the_portable_graphs_compete_alone(
    bundle: Bundle, cache: EngineCache, pretend: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_cpu, "find_spec", lambda name: None)
    engine = compiled(bundle, "onnxruntime", cache)
    assert "pip install onnx" in verdicts(engine)["rewritten"]
    assert {"fp32", "int8-fp32"} < verdicts(engine).keys()


def test_tensorrt_builds_a_plan_for_each_precision_and_keeps_the_winner(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt, pretend: dict[str, float]
) -> None:
    pretend.update({"fp16": 5.0, "int8-fp16": 4.0})
    options = CompileOptions(optimization_level=5, workspace_mib=64, rounds=2)
    engine = compiled(jetson_bundle, "tensorrt", cache, options)
    assert list(verdicts(engine)) == ["fp16", "int8-fp16", "fp32"]
    assert engine.entry.candidate == "int8-fp16"
    assert sorted(path.name for path in engine.folder.iterdir()) == [
        "entry.json",
        "language.layers.json",
        "language.plan",
        "step.int8-fp16.layers.json",
        "step.int8-fp16.plan",
    ]
    assert json.loads((engine.folder / "language.layers.json").read_text()) == {"Layers": []}
    assert trt.calls.count("create_network 2") == 4
    assert trt.calls.count("clear TF32") == 4
    assert f"build level 5 workspace {64 << 20} timings 0" in trt.calls
    assert actions(engine, jetson_bundle, "tensorrt") < 1


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt"])
def test_after_a_change_of_the_machine_the_former_engine_is_used_until_there_is_a_new_one(
    name: str,
    jetson_bundle: Bundle,
    cache: EngineCache,
    trt: FakeTensorRt,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = PolicyConfig.model_validate({"backend": name, "engines": str(cache.root), "threads": 1})
    former = compiled(jetson_bundle, name, cache)
    here = Machine.here()
    monkeypatch.setattr(Machine, "here", lambda: replace(here, power_mode="2", driver="540.4"))
    model = open_model(jetson_bundle, config, MonotonicClock())
    assert model.variant.step == former.step(jetson_bundle)
    assert "driver: 540.4, was none; power_mode: 2, was none" in caplog.text
    assert run_golden(model).passed

    caplog.clear()
    new = compiled(jetson_bundle, name, cache)
    assert new.folder != former.folder
    assert open_model(jetson_bundle, config, MonotonicClock()).variant.step == new.step(jetson_bundle)
    assert caplog.text == ""


def test_int8_that_is_hardly_faster_is_not_kept(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt, pretend: dict[str, float]
) -> None:
    pretend.update({"fp16": 5.0, "int8-fp16": 4.8, "fp32": 9.0})
    engine = compiled(jetson_bundle, "tensorrt", cache)
    assert engine.entry.candidate == "fp16"
    assert verdicts(engine) == {
        "fp16": "chosen",
        "int8-fp16": "4.0% faster than fp16, and INT8 needs 5%",
        "fp32": "slower than fp16",
    }


def test_kernel_timings_serve_the_next_engine_and_the_next_compilation(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt, pretend: dict[str, float]
) -> None:
    compiled(jetson_bundle, "tensorrt", cache)
    compiled(jetson_bundle, "tensorrt", cache)
    timings = [call.rpartition(" ")[2] for call in trt.calls if call.startswith("build level")]
    assert timings == [str(n) for n in range(8)]


def test_kept_timings_of_another_library_are_made_anew(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt, pretend: dict[str, float]
) -> None:
    compiled(jetson_bundle, "tensorrt", cache)
    trt.refuse = {"set_timing_cache"}
    said: list[str] = []
    compile_bundle(jetson_bundle, load_backend("tensorrt"), cache, QUICK, said.append)
    assert any("every kernel is timed again" in line for line in said)


@pytest.mark.parametrize("refused", ["build step.int8-fp16.onnx", "parse"])
def test_a_precision_that_tensorrt_cannot_build_does_not_stop_the_others(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt, pretend: dict[str, float], refused: str
) -> None:
    if refused == "parse":
        del trt.graphs["step.int8-fp16.onnx"]
    trt.refuse = {refused}
    engine = compiled(jetson_bundle, "tensorrt", cache)
    assert verdicts(engine)["int8-fp16"].startswith("not made: TensorRT cannot")
    assert engine.entry.candidate in ("fp16", "fp32")


def test_a_language_engine_that_cannot_be_built_ends_it_and_leaves_nothing(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt
) -> None:
    trt.refuse = {"build language.fp32.onnx"}
    with pytest.raises(EngineError, match=r"cannot build .*language\.fp32\.onnx: build .* refused"):
        compiled(jetson_bundle, "tensorrt", cache)
    assert left(cache) == []


def test_a_library_that_computes_wrong_numbers_compiles_nothing(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt, pretend: dict[str, float]
) -> None:
    """As TensorRT 10.3 did with a ViT in FP16, reporting success."""
    trt.compute = lambda path, inputs: {n: 2 * a + 1 for n, a in run_onnx(path, inputs).items()}
    with pytest.raises(EngineError, match=r"no float engine .* computes here what the checkpoint did: fp16: computes"):
        compiled(jetson_bundle, "tensorrt", cache)
    assert left(cache) == ["timings"]


def test_not_a_number_is_wrong(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt, pretend: dict[str, float]
) -> None:
    def overflow(path: Path, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        outputs = run_onnx(path, inputs)
        return {n: a * np.float32("nan") for n, a in outputs.items()} if path.name == "step.fp16.onnx" else outputs

    trt.compute = overflow
    engine = compiled(jetson_bundle, "tensorrt", cache)
    assert verdicts(engine)["fp16"].startswith("computes wrong actions: golden error inf")
    assert engine.entry.candidate == "fp32"


def left(cache: EngineCache) -> list[str]:
    """What the cache holds, locks aside; file names up to their digest."""
    return sorted(path.name.partition("-")[0] for path in cache.root.iterdir() if path.name != ".lock")


def test_ctrl_c_in_the_middle_of_a_build_leaves_nothing(
    jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt
) -> None:
    trt.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        compiled(jetson_bundle, "tensorrt", cache)
    # The build was broken off, not waited for.
    assert not any(call.startswith("build language") for call in trt.calls)
    assert left(cache) == []


def test_progress_is_shown(jetson_bundle: Bundle, cache: EngineCache, trt: FakeTensorRt) -> None:
    shown: list[str] = []
    compile_bundle(jetson_bundle, load_backend("tensorrt"), cache, QUICK, lambda line: None, shown.append)
    assert "building 2/5: step.fp16: Building 50 %" in shown
    assert "building 5/5: timing 3 engines in turns, 2 rounds" in shown


def test_the_null_backend_has_nothing_to_compile(bundle: Bundle, cache: EngineCache) -> None:
    with pytest.raises(EngineError, match="backend null needs no compiling; choose from tensorrt, onnxruntime"):
        compile_bundle(bundle, load_backend("null"), cache, QUICK, lambda line: None)


# Compiles in children that kill themselves at the n-th thing that happens, for every n: a line that is said or shown,
# or anything that Python does to files below the cache.
KILLED = """
import os, signal, sys
from pathlib import Path
import onnxruntime
from jetvla.engines import compile_cpu
from jetvla.engines.compile import compile_bundle
from jetvla.engines.compile_contender import CompileOptions
from jetvla.runtime.backends import load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.engine_cache import EngineCache, engine_key

root, bundle, found = Path(sys.argv[1]), Bundle.open(Path(sys.argv[2]), None), []
compile_cpu.find_spec = lambda name: None
backend = load_backend("onnxruntime")
cache, key = EngineCache(root), engine_key(bundle, backend)
for moment in range(1000):
    child = os.fork()
    if child == 0:
        count = 0
        def pass_by(*_):
            global count
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
        def watch(event, arguments):
            if event.partition(".")[0] in ("os", "open", "shutil") and str(root) in str(arguments[:1]):
                pass_by()
        sys.addaudithook(watch)
        compile_bundle(bundle, backend, cache, CompileOptions(rounds=1, threads=1), pass_by, pass_by)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    found.append(cache.find(key) is not None)
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
print(len(found), sum(found))
"""


def test_killed_at_any_moment_there_is_a_whole_engine_or_none(bundle: Bundle, cache: EngineCache) -> None:
    command = [sys.executable, "-c", KILLED, str(cache.root), str(bundle.path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    moments, whole = map(int, ran.stdout.split())
    assert moments > 12
    assert 1 <= whole < moments
    assert left(cache) == [cache.folder(engine_key(bundle, load_backend("onnxruntime"))).name]


def test_compiling_imports_no_torch() -> None:
    code = (
        "import sys, jetvla.engines.compile, jetvla.engines.compile_tensorrt, jetvla.engines.compile_cpu; "
        "sys.exit(' '.join({'torch', 'transformers', 'tensorrt', 'onnx'} & set(sys.modules)) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
