"""The rows of the table of goals that a bundle alone can give, on the tiny bundle: structure, not speed."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetvla.engines.bench import choice as module
from jetvla.engines.bench import turns
from jetvla.engines.bench.choice import Candidate, Choice, choice
from jetvla.engines.bench.overhead import overhead
from jetvla.engines.compile import compile_bundle
from jetvla.engines.compile_contender import CompileOptions
from jetvla.runtime.backends import load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.engine_cache import EngineCache, engine_key
from jetvla.runtime.errors import EngineError
from jetvla.runtime.policy.golden import GoldenResult
from jetvla.runtime.policy.model import Model

pytestmark = pytest.mark.build


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample is dropped, however busy this machine is."""
    monkeypatch.setattr(turns, "OTHERS", 1e9)


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle, None)


@pytest.fixture
def engines(bundle: Bundle, tmp_path: Path) -> Path:
    folder = tmp_path / "engines"
    options = CompileOptions(threads=1, rounds=1)
    compile_bundle(bundle, load_backend("onnxruntime"), EngineCache(folder), options, lambda _: None)
    return folder


def test_every_accurate_candidate_is_timed_again_beside_the_chosen_one(bundle: Bundle, engines: Path) -> None:
    entry = EngineCache(engines).find(engine_key(bundle, load_backend("onnxruntime")))
    assert entry is not None
    found = choice(bundle, engines, threads=1, accepted=1)
    assert found.chosen == entry.entry.candidate
    accurate = {report.name for report in entry.entry.candidates if report.median_ms is not None}
    assert {c.name for c in found.candidates} == accurate
    assert len(accurate) > 1


def test_an_inaccurate_candidate_does_not_compete(
    bundle: Bundle, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = module.run_golden
    entry = EngineCache(engines).find(engine_key(bundle, load_backend("onnxruntime")))
    assert entry is not None
    wrong = next(r.name for r in entry.entry.candidates if r.name != entry.entry.candidate)

    def one_is_wrong(model: Model) -> GoldenResult:
        result = judge(model)
        if model.variant.name != wrong:
            return result
        return GoldenResult(result.tolerance * 2, result.tolerance, result.samples)

    monkeypatch.setattr(module, "run_golden", one_is_wrong)
    assert wrong not in [c.name for c in choice(bundle, engines, threads=1, accepted=1).candidates]


def test_the_ratio_of_a_choice_is_its_speed_of_the_best_ones() -> None:
    found = Choice("a", (Candidate("a", 2.0, 20, 0), Candidate("b", 1.0, 20, 0)))
    assert (found.pick.name, found.best.name, found.ratio) == ("a", "b", 0.5)


def test_a_bundle_that_was_not_compiled_is_named(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="jetvla compile"):
        choice(bundle, tmp_path, threads=1)


def test_overhead_times_each_frame_of_every_way(bundle: Bundle) -> None:
    found = overhead(bundle, accepted=1, frames=5)
    assert len(found.costs) == 4
    for cost in found.costs:
        assert (cost.accepted, cost.dropped) == (1, 0)
        assert 0 < cost.p50_ms <= cost.p99_ms
