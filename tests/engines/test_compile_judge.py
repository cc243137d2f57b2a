"""Who wins, and that times are taken in turns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jetvla.engines import compile_judge
from jetvla.engines.compile_environment import environment
from jetvla.engines.compile_judge import Judge, choose
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.engine_entry import CandidateReport, Part
from jetvla.runtime.errors import BundleError, EngineError
from jetvla.runtime.policy.golden import GoldenSample

PLACE = Path("bundle")


def report(name: str, ms: float | None, integers: bool = False, verdict: str = "") -> CandidateReport:
    return CandidateReport(name=name, precision="fp32", integers=integers, median_ms=ms, verdict=verdict)


def verdicts(*reports: CandidateReport) -> dict[str, str]:
    return {r.name: r.verdict for r in choose(reports, PLACE)}


@pytest.mark.parametrize(("ms", "chosen"), [(9.5, True), (9.51, False), (10.0, False), (11.0, False), (1.0, True)])
def test_int8_is_kept_from_five_percent_on(ms: float, chosen: bool) -> None:
    found = verdicts(report("fp16", 10.0), report("int8", ms, integers=True))
    assert (found["int8"] == "chosen") == chosen
    assert (found["fp16"] == "chosen") != chosen


def test_int8_is_held_against_the_best_float() -> None:
    found = verdicts(report("fp32", 20.0), report("fp16", 10.0), report("int8", 12.0, integers=True))
    assert found == {
        "fp32": "slower than fp16",
        "fp16": "chosen",
        "int8": "slower than fp16",
    }


def test_the_fastest_of_several_int8_wins() -> None:
    int8 = (report("dynamic", 5.0, integers=True), report("calibrated", 4.0, integers=True))
    assert verdicts(report("fp32", 10.0), *int8) == {
        "fp32": "slower than calibrated",
        "dynamic": "slower than calibrated",
        "calibrated": "chosen",
    }


def test_what_was_not_timed_keeps_its_verdict_and_never_wins() -> None:
    found = verdicts(report("fp16", None, verdict="computes wrong actions"), report("fp32", 10.0))
    assert found == {"fp16": "computes wrong actions", "fp32": "chosen"}


def test_int8_alone_is_not_trusted() -> None:
    with pytest.raises(EngineError, match=r"no float engine of bundle .*: fp32: wrong"):
        choose([report("fp32", None, verdict="wrong"), report("int8", 1.0, integers=True)], PLACE)


@pytest.fixture
def judge(tiny_bundle: Path) -> Judge:
    bundle = Bundle.open(tiny_bundle, None)
    language = bundle.manifest.graphs["language.fp32"]
    part = Part(bundle.file(language.file), language)
    return Judge(bundle, load_backend("onnxruntime"), part, EngineOptions(threads=1))


def test_times_are_taken_in_turns_on_the_golden_samples(judge: Judge) -> None:
    order: list[str] = []
    pictures: dict[str, set[int]] = {"a": set(), "b": set()}

    class Clocked:
        def __init__(self, name: str, gpu: float | None) -> None:
            self.name, self._gpu = name, gpu

        def infer(self, inputs: Mapping[str, Any]) -> None:
            order.append(self.name)
            pictures[self.name].add(hash(inputs["image_front"].tobytes()))

        def gpu_ms(self) -> float | None:
            return self._gpu

    engines: Any = {"a": Clocked("a", None), "b": Clocked("b", 0.5)}
    tallies = judge.race(engines, 6)
    assert "".join(order) == "aaabbb" + "ab" * 6
    assert pictures["a"] == pictures["b"]
    assert len(pictures["a"]) > 1
    assert (tallies["a"].gpu_ms, tallies["b"].gpu_ms) == (None, 0.5)
    assert 0 < tallies["a"].quartiles_ms[0] <= tallies["a"].median_ms <= tallies["a"].quartiles_ms[1]


def test_a_precision_without_a_tolerance_is_a_bundle_s_fault(judge: Judge) -> None:
    with pytest.raises(BundleError, match="no golden tolerance for int8-fp16"):
        judge.tolerance("int8-fp16")


def test_the_state_of_a_jetson_is_noted(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": "processor: 0\nmodel name\t: Cortex-A78AE\n",
        "proc/loadavg": "0.10 0.20 0.30 1/100 1\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1190400\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1190400\n",
        "sys/class/devfreq/17000000.gpu/cur_freq": "612000000\n",
        "sys/class/thermal/thermal_zone0/temp": "48500\n",
        "var/lib/nvpmodel/status": "pmode:0002\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = environment(tmp_path)
    assert found["cpu"] == "Cortex-A78AE"
    assert (found["cpu_clock_khz"], found["device_clock_hz"]) == ("1190400", "612000000")
    assert (found["temperature_mc"], found["power_mode"]) == ("48500", "pmode:0002")
    assert "cpu_governor" not in found


def test_a_policy_of_images_and_state_needs_no_language(monkeypatch: pytest.MonkeyPatch) -> None:
    actions = np.ones((2, 3), np.float32)
    sample = GoldenSample({"image_top": np.zeros((1, 8, 8, 3), np.uint8)}, np.arange(3, dtype=np.float32), "", actions)
    monkeypatch.setattr(compile_judge, "golden_samples", lambda bundle: iter([sample]))
    golden = SimpleNamespace(scale=(1.0, 2.0, 4.0), tolerance={})
    bundle: Any = SimpleNamespace(manifest=SimpleNamespace(golden=golden, text=None))
    seen: list[Mapping[str, Any]] = []

    def infer(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        seen.append(inputs)
        return {"actions": actions[None] + np.float32(1)}

    judge = Judge(bundle, load_backend("null"), None, EngineOptions())
    step: Any = SimpleNamespace(infer=infer)
    assert judge.golden_error(step) == 1.0
    assert {name: array.shape for name, array in seen[0].items()} == {"image_top": (1, 8, 8, 3), "state": (1, 3)}
