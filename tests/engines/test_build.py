from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto

from jetvla.calibration.episodes import open_episodes
from jetvla.engines import build as build_module
from jetvla.engines import calibrate as calibrate_module
from jetvla.engines.build import BuildOptions, build
from jetvla.engines.calibrate import calibrate
from jetvla.engines.export import export_graph
from jetvla.engines.observations import Choice, Observations, random_observations, recorded_observations
from jetvla.engines.parity import LanguageCache, StepInputs, compare, require_parity
from jetvla.engines.policy import Policy
from jetvla.engines.runner import GraphRunner
from jetvla.engines.variants import Variant, Wish, make_variants
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.errors import ConfigError, EngineError, EpisodeError
from jetvla.runtime.keys import load_trusted
from jetvla.runtime.manifest import Execution, Manifest
from jetvla.runtime.tokenizer import Tokenizer
from jetvla.services.bundle_source import opened


@dataclass(frozen=True)
class Built:
    """A finished build: its folder, its manifest, what it said, and the keys' folder."""

    path: Path
    manifest: Manifest
    said: str
    keys: Path


@pytest.fixture(scope="module")
def built(built_folder: Path) -> Built:
    path = built_folder / "bundle"
    manifest = Manifest.model_validate_json((path / "manifest.json").read_bytes())
    return Built(path, manifest, (built_folder / "said.txt").read_text(), built_folder / "keys")


@pytest.fixture(scope="module")
def observations(policy: Policy, episodes: Path) -> Observations:
    return recorded_observations(open_episodes(episodes), policy.settings)


def variants_of(
    wish: Wish, policy: Policy, exported: dict[str, ModelProto], observations: Observations
) -> list[Variant]:
    cache = LanguageCache(policy, GraphRunner.of_model(exported["language"]), None)
    feeds = list(StepInputs(observations.held_out, cache))
    step = GraphRunner.of_model(exported["step"])
    truth = np.concatenate([step.run(feed)["actions"] for feed in feeds])
    action = policy.settings.action
    return make_variants(exported["step"], action, observations, feeds, feeds, truth, wish, lambda line: None)


def shares(observations: Observations, share: float) -> np.ndarray:
    """A tolerance of the same share of every dimension's range."""
    return np.asarray(share * observations.scale)


def test_the_bundle_is_whole_and_signed(built: Built) -> None:
    bundle = Bundle.open(built.path, load_trusted(built.keys))
    assert bundle.manifest == built.manifest
    assert bundle.signer is not None
    assert bundle.manifest.step_precisions == ("fp32", "fp16", "int8-fp32", "int8-fp16")
    assert bundle.manifest.version == 3
    assert not [path for path in built.path.parent.iterdir() if path.name.startswith(".")]
    assert str(Path(__file__).parents[2]) not in (built.path / "manifest.json").read_text()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-fp32", "int8-fp16"])
def test_every_precision_gives_the_golden_actions(built: Built, precision: str) -> None:
    """Through the files alone, as the device does it."""
    manifest = built.manifest
    language = GraphRunner(built.path / manifest.graphs["language.fp32"].file)
    step = GraphRunner(built.path / manifest.graphs[f"step.{precision}"].file)
    assert manifest.text is not None
    tokenizer = Tokenizer(built.path / manifest.text.tokenizer, manifest.text.max_tokens, manifest.text.pad_id)
    with np.load(built.path / manifest.golden.file, allow_pickle=False) as golden:
        assert golden["image_front"].shape == (manifest.golden.count, 32, 32, 3)
        for image, instruction, actions in zip(
            golden["image_front"], golden["instructions"], golden["actions"], strict=True
        ):
            tokens = tokenizer.encode(str(instruction))
            text = language.run({"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask})
            computed = step.run({"image_front": image[None], **text})["actions"][0]
            error = np.abs(computed - actions).max(axis=0) / manifest.golden.scale
            assert error.max() <= manifest.golden.tolerance[precision]  # type: ignore[index]  # a literal's values


def test_the_manifest_reports_what_was_measured(built: Built, episodes: Path) -> None:
    manifest = built.manifest
    assert max(manifest.parity.max) < 1e-4
    assert manifest.parity.samples == 6
    assert {r.precision: r.held_out for r in manifest.precision} == dict.fromkeys(
        ("fp16", "int8-fp32", "int8-fp16"), "held-out episodes"
    )
    int8 = next(r for r in manifest.precision if r.precision == "int8-fp32")
    assert 0 < int8.relative_error < 0.5
    assert int8.tolerance_share == pytest.approx(int8.relative_error / 0.5)
    np.testing.assert_allclose(int8.tolerance, np.multiply(manifest.golden.scale, 0.5))
    # The rest are attention's own products, which stay in float.
    assert 0.5 < sum(block.share for block in int8.blocks) < 1
    assert {block.precision for block in int8.blocks} == {"int8"}
    assert int8.quantized_nodes > 20
    assert manifest.calibration is not None
    assert manifest.calibration.samples == 18
    assert len(manifest.calibration.episodes) == 3
    assert set(manifest.calibration.episodes) | set(manifest.calibration.held_out) == {
        path.stem for path in episodes.iterdir()
    }
    assert (manifest.calibration.selection, manifest.calibration.method) == ("covering", "mse")
    assert "parity with PyTorch" in built.said
    assert "no influence" not in built.said
    assert manifest.normalization.std[1] == 1.0
    assert set(manifest.builder) == {"python", "jetvla", "torch", "transformers", "onnx", "onnxruntime"}


def test_calibration_and_judgement_use_different_episodes(policy: Policy, episodes: Path) -> None:
    found = recorded_observations(open_episodes(episodes), policy.settings)
    seen = {sample.images["front"].tobytes() for sample in found.calibration}
    held_out = {sample.images["front"].tobytes() for sample in found.held_out}
    assert seen.isdisjoint(held_out)
    assert {s.images["front"].tobytes() for s in found.golden} <= held_out
    recorded = np.concatenate([e.actions for e in open_episodes(episodes) if e.actions is not None])
    np.testing.assert_allclose(found.scale, np.ptp(recorded.astype(np.float64), axis=0))
    with pytest.raises(EpisodeError, match="at least two are needed"):
        recorded_observations(open_episodes(episodes)[:1], policy.settings)


def test_auto_falls_back_to_float_and_says_so(
    policy: Policy, exported: dict[str, ModelProto], observations: Observations
) -> None:
    (variant,) = variants_of(Wish("auto", "cpu", shares(observations, 1e-9)), policy, exported, observations)
    assert not variant.report.written
    assert "over it" in variant.report.reason
    (good,) = variants_of(Wish("auto", "cpu", shares(observations, 0.5)), policy, exported, observations)
    assert good.report.written


def test_int8_over_tolerance_fails_unless_forced(
    policy: Policy, exported: dict[str, ModelProto], observations: Observations
) -> None:
    with pytest.raises(EngineError, match=r"int8-fp32: action error .* over it; use --precision auto"):
        variants_of(Wish("int8", "cpu", shares(observations, 1e-9)), policy, exported, observations)
    (forced,) = variants_of(Wish("int8", "cpu", shares(observations, 1e-9), force=True), policy, exported, observations)
    assert forced.report.written
    assert forced.report.reason.endswith("forced")


def test_the_error_is_judged_where_the_recordings_move(
    policy: Policy, exported: dict[str, ModelProto], observations: Observations
) -> None:
    wish = Wish("int8", "cpu", shares(observations, 0.5))
    everywhere = variants_of(wish, policy, exported, observations)[0].report
    assert everywhere.relative_error == pytest.approx((np.array(everywhere.error.mean) / observations.scale).max())
    only = dataclasses.replace(observations, moving=np.arange(7) == 0)
    report = variants_of(wish, policy, exported, only)[0].report
    assert report.relative_error == pytest.approx(report.error.mean[0] / observations.scale[0])


def test_fp16_is_no_precision_of_a_cpu() -> None:
    with pytest.raises(ConfigError, match="choose --target jetson or both"):
        Wish("fp16", "cpu", np.ones(7)).precisions()


def test_graphs_that_differ_from_pytorch_are_not_shipped() -> None:
    truth = np.zeros((2, 1, 2), np.float32)
    report = compare(truth + np.float32([0, 3e-4]), truth)
    require_parity(report, np.array([1.0, 10.0]), ("x", "y"))
    with pytest.raises(EngineError, match=r"differ from PyTorch by 3\.00e-04 of the range of 'y'"):
        require_parity(report, np.array([1.0, 1.0]), ("x", "y"))
    with pytest.raises(EngineError, match="nan"):
        require_parity(compare(truth * np.float32(np.nan), truth), np.ones(2), ("x", "y"))


def quick_build(
    policy: Policy,
    exported: dict[str, ModelProto],
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    say: object = None,
    execution: Execution | None = None,
    wish: Wish | None = None,
) -> Manifest:
    """A build that does not export again."""
    monkeypatch.setattr(build_module, "export_graph", lambda source, block=None: exported[source.name])
    speak = say if callable(say) else (lambda line: None)
    options = BuildOptions(wish or Wish("fp32", "cpu", np.ones(7)), execution=execution)
    return build(policy, random_observations(policy.settings), options, output, speak)


def test_an_interrupted_build_leaves_nothing(
    policy: Policy, exported: dict[str, ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick_build(policy, exported, tmp_path / "bundle", monkeypatch, interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("tolerance", "told"), [(1e-9, True), (1e9, False)])
def test_a_jetson_that_gets_nothing_in_fp16_is_told(
    policy: Policy,
    exported: dict[str, ModelProto],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tolerance: float,
    told: bool,
) -> None:
    said: list[str] = []
    wish = Wish("auto", "jetson", np.full(7, tolerance))
    quick_build(policy, exported, tmp_path / "bundle", monkeypatch, said.append, wish=wish)
    assert said[-1].startswith("for a Jetson: FP32 only") == told


def test_a_policy_that_ignores_instructions_is_reported(
    exported: dict[str, ModelProto], policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the course's attention does."""
    deaf = dataclasses.replace(policy, network=copy.deepcopy(policy.network))
    with torch.no_grad():
        deaf.network.action_head[3].weight.zero_()
    plan = deaf.family.export_plan(deaf.network, deaf.settings, deaf.actions)
    said: list[str] = []
    quick_build(deaf, {**exported, "step": export_graph(plan.graphs[1])}, tmp_path / "bundle", monkeypatch, said.append)
    assert any("no influence" in line for line in said)


def test_a_wrong_export_leaves_nothing(
    policy: Policy, exported: dict[str, ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = dataclasses.replace(policy, actions=policy.actions.model_copy(update={"mean": (9.0,) * 7}))
    with pytest.raises(EngineError, match="differ from PyTorch"):
        quick_build(other, exported, tmp_path / "bundle", monkeypatch)
    assert list(tmp_path.iterdir()) == []


def test_a_packed_bundle_is_the_same_bytes_every_time(
    policy: Policy, exported: dict[str, ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        quick_build(policy, exported, tmp_path / f"{name}.jetvla", monkeypatch)
    assert (tmp_path / "one.jetvla").read_bytes() == (tmp_path / "two.jetvla").read_bytes()
    with opened(tmp_path / "one.jetvla", None) as bundle:
        assert bundle.manifest.precision == ()


@pytest.mark.parametrize("stated", [None, "blend"])
def test_the_command_line_may_say_how_chunks_are_merged(
    policy: Policy,
    exported: dict[str, ModelProto],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stated: Execution | None,
) -> None:
    own = {"execution": "temporal_ensemble", "ensemble_coefficient": 0.2}
    changed = dataclasses.replace(policy, settings=policy.settings.model_copy(update=own))
    manifest = quick_build(changed, exported, tmp_path / "bundle", monkeypatch, execution=stated)
    assert (manifest.execution, manifest.ensemble_coefficient) == (stated or "temporal_ensemble", 0.2)
    assert Bundle.open(tmp_path / "bundle", None).manifest == manifest


def test_an_instruction_that_would_be_cut_is_refused(
    policy: Policy, exported: dict[str, ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observations = random_observations(policy.settings)
    long = " ".join(["pick"] * 11)
    wordy = dataclasses.replace(observations, instructions=("go", long))
    with pytest.raises(ConfigError, match=r"has 13 tokens and the policy reads 12: 1 would be cut \(1 of"):
        build(policy, wordy, BuildOptions(Wish("fp32", "cpu", np.ones(7))), tmp_path / "bundle", lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_what_a_calibration_file_was_made_of(
    policy: Policy, episodes: Path, exported: dict[str, ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (build_module, calibrate_module):
        monkeypatch.setattr(module, "export_graph", lambda source, block=None: exported[source.name])
    made = recorded_observations(open_episodes(episodes), policy.settings, Choice(3, "uniform", 1))
    file = calibrate(policy, made, "max", "off", "recordings", lambda line: None)
    file.write(tmp_path / "c.json")
    observations = recorded_observations(open_episodes(episodes), policy.settings, Choice(5, "covering", 1))
    wish = Wish("int8", "cpu", 0.5 * observations.scale)
    options = BuildOptions(wish, calibration=tmp_path / "c.json")
    manifest = build(policy, observations, options, tmp_path / "bundle", lambda line: None)
    found = manifest.calibration
    assert found is not None
    assert (found.method, found.samples, found.selection, found.seed) == ("max", 3, "uniform", 1)
    assert (found.data_sha256, found.episodes) == (file.data.sha256, file.data.episodes)
    assert (found.held_out, found.coverage) == (observations.judges, None)
    others = recorded_observations(open_episodes(episodes), policy.settings, Choice(5, "covering", 0))
    with pytest.raises(ConfigError, match=r"would also judge: give the --episodes \(recordings\) and --seed \(1\)"):
        build(policy, others, options, tmp_path / "other", lambda line: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "c.json"]


def test_a_missing_key_is_found_before_the_work(policy: Policy, tmp_path: Path) -> None:
    options = BuildOptions(Wish("fp32", "cpu", np.ones(7)), key=tmp_path / "no.key")
    with pytest.raises(ConfigError, match="cannot read the private key"):
        build(policy, random_observations(policy.settings), options, tmp_path / "bundle", lambda line: None)
    assert list(tmp_path.iterdir()) == []


def test_the_committed_bundle_is_what_the_builder_makes_now(tiny_bundle: Path, built: Built) -> None:
    """If this fails: python tests/data/make_tiny_bundle.py"""
    manifest = Bundle.open(tiny_bundle, None).manifest
    assert manifest.step_precisions == ("fp32", "int8-fp32")
    for name, graph in manifest.graphs.items():
        assert graph == built.manifest.graphs[name]
    assert json.loads((tiny_bundle / "manifest.json").read_text()).keys() == built.manifest.model_dump().keys()
