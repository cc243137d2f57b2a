"""From a policy to a bundle: export, prove, quantize, judge, describe, sign."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.calibration_file import CalibrationFile
from jetvla.engines.calibrate import file_ranges, provenance, read_calibration
from jetvla.engines.export import export_graph
from jetvla.engines.families.family import ExportPlan
from jetvla.engines.graph import graph_sha256, write_graph
from jetvla.engines.integers import Ranges
from jetvla.engines.observations import Observations
from jetvla.engines.parity import (
    LanguageCache,
    StepInputs,
    compare,
    graph_actions,
    largest,
    policy_actions,
    require_parity,
)
from jetvla.engines.policy import Policy
from jetvla.engines.publication import published
from jetvla.engines.runner import GraphRunner
from jetvla.engines.variants import Variant, Wish, make_variants
from jetvla.runtime.bundle import MANIFEST, SIGNATURE, digest_files
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.keys import load_private_key, sign
from jetvla.runtime.manifest import (
    ErrorReport,
    Execution,
    GoldenSpec,
    GraphSpec,
    Manifest,
    Normalization,
    Precision,
    PrecisionReport,
    TextSpec,
    is_fp32_on_jetson,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LANGUAGE, STEP = "language.fp32", "step.fp32"
TOKENIZER, EMBEDDING, GOLDEN = "tokenizer.json", "embedding.npy", "golden.npz"
_BUILDERS = ("jetvla", "torch", "transformers", "onnx", "onnxruntime")
_NO_INFLUENCE = 1e-6
# Fewer hardly show a robot's variety: one light, one place of the object.
FEW_EPISODES = 3
# Another machine sums in another order, and INT8 results differ with the instruction set: the golden tolerance is
# this many times the error measured here, and never below the floor.
_MARGIN = 4.0
_FLOOR: dict[Precision, float] = {"fp32": 1e-3, "fp16": 5e-3, "int8-fp32": 1e-2, "int8-fp16": 1e-2}


@dataclass(frozen=True)
class BuildOptions:
    """What to build.

    Attributes:
        wish: precisions and their tolerance.
        version: of the bundle.
        key: file of the private key, or None for an unsigned bundle.
        overwrite: replace an output that is there.
        calibration: ranges to take instead of collecting them.
        execution: how overlapping chunks are merged, if not as the checkpoint says.
    """

    wish: Wish
    version: int = 1
    key: Path | None = None
    overwrite: bool = False
    calibration: Path | None = None
    execution: Execution | None = None


def build(
    policy: Policy, observations: Observations, options: BuildOptions, output: Path, say: Callable[[str], None]
) -> Manifest:
    """Write the bundle of ``policy`` to ``output`` (a folder, or one file if it ends in ``.jetvla``), atomically.

    Args:
        policy: what to export.
        observations: what to calibrate with and to judge by.
        options: precision, version, key.
        output: see :func:`jetvla.engines.publication.published`.
        say: is told one line per thing done.

    Raises:
        EngineError: FP32 parity failed, or a forced precision is over tolerance.
        ConfigError: the key, the output or the calibration file is wrong, or an instruction is too long.
    """
    key = None if options.key is None else load_private_key(options.key)
    policy.check_instructions(observations.instructions)
    options.wish.precisions()
    if options.version < 1:
        raise ConfigError(f"--version {options.version}: a bundle's versions begin at 1")
    calibration = _calibration(observations, options)
    with published(output, options.overwrite) as folder:
        manifest = _Builder(policy, observations, options, calibration, folder, say).manifest()
        _write_manifest(manifest, folder, key)
    return manifest


def _calibration(observations: Observations, options: BuildOptions) -> CalibrationFile | None:
    """The calibration file, if one is given; ConfigError if it is of no use here."""
    if options.calibration is None:
        return None
    if not any(precision.startswith("int8") for precision in options.wish.precisions()):
        raise ConfigError(f"--calibration is of no use with --precision {options.wish.request}; leave one of them out")
    return read_calibration(options.calibration, observations.judges)


def _write_manifest(manifest: Manifest, folder: Path, key: Ed25519PrivateKey | None) -> None:
    raw = manifest.model_dump_json(indent=1).encode()
    if key is not None:
        (folder / SIGNATURE).write_bytes(sign(raw, key))
    (folder / MANIFEST).write_bytes(raw)


def _episodes(names: tuple[str, ...]) -> str:
    return f"{len(names)} episode{'' if len(names) == 1 else 's'}"


class _Builder:
    def __init__(
        self,
        policy: Policy,
        observations: Observations,
        options: BuildOptions,
        calibration: CalibrationFile | None,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self._policy, self._observations, self._options = policy, observations, options
        self._calibration = calibration
        self._folder, self._say = folder, say
        self._graphs: dict[str, GraphSpec] = {}
        self._names = policy.settings.action.names

    def manifest(self) -> Manifest:
        """Write every other file, and describe them."""
        observations, policy = self._observations, self._policy
        plan = policy.family.export_plan(policy.network, policy.settings, policy.actions)
        step = export_graph(plan.graphs[-1], policy.family.block)
        self._graphs[STEP] = write_graph(step, self._folder / f"{STEP}.onnx")
        text, cache = self._write_language(plan)
        held_out = list(StepInputs(observations.held_out, cache))
        actions = graph_actions(GraphRunner(self._folder / f"{STEP}.onnx"), held_out)
        parity = self._prove(actions)
        calibration = StepInputs(observations.calibration, cache)
        variants = make_variants(
            step,
            policy.settings.action,
            observations,
            calibration,
            held_out,
            actions,
            self._options.wish,
            self._say,
            self._ranges(),
        )
        for variant in variants:
            self._keep(variant)
        self._sum_up([variant.report for variant in variants])
        return self._describe(text, parity, variants, self._write_golden(parity, variants))

    def _ranges(self) -> Ranges | None:
        """Those of the calibration file, if there is one and it is of this very graph."""
        if self._calibration is None:
            return None
        self._calibration.check_belongs(graph_sha256(self._folder / f"{STEP}.onnx"))
        return file_ranges(self._calibration)

    def _prove(self, actions: NDArray[np.float32]) -> ErrorReport:
        truth = policy_actions(self._policy, self._observations.held_out)
        parity = compare(actions, truth)
        require_parity(parity, self._observations.scale, self._names)
        worst = largest(parity, self._observations.scale)
        self._say(f"parity with PyTorch: {worst:.1e} of range, {parity.samples} samples, {self._observations.source}")
        if self._ignores_instructions():
            self._say("WARNING: the instruction has no influence on this policy's actions")
        return parity

    def _ignores_instructions(self) -> bool:
        """The course's attention does at batch 1, and a policy may have learnt to."""
        if self._policy.text is None:
            return False
        sample = self._observations.golden[0]
        one, other = (
            self._policy.act(sample.images, sample.state, text) for text in (sample.instruction, "do something else")
        )
        return float((np.abs(one - other) / self._observations.scale).max()) < _NO_INFLUENCE

    def _write_language(self, plan: ExportPlan) -> tuple[TextSpec | None, LanguageCache | None]:
        """Language graph, tokenizer and embedding, where the family has language."""
        text, settings = self._policy.text, self._policy.settings.text
        if text is None or settings is None:
            return None, None
        graph, path = export_graph(plan.graphs[0], self._policy.family.block), self._folder / f"{LANGUAGE}.onnx"
        self._graphs[LANGUAGE] = write_graph(graph, path)
        (self._folder / TOKENIZER).write_text(text.json, encoding="utf-8")
        embedding = None if plan.embedding is None else plan.embedding.numpy()
        if embedding is not None:
            np.save(self._folder / EMBEDDING, embedding, allow_pickle=False)
        kept = None if embedding is None else EMBEDDING
        spec = TextSpec(tokenizer=TOKENIZER, max_tokens=settings.max_tokens, pad_id=text.pad_id, embedding=kept)
        return spec, LanguageCache(self._policy, GraphRunner(path), embedding)

    def _keep(self, variant: Variant) -> None:
        report = variant.report
        name = f"step.{report.precision}"
        if report.written and variant.model is not None:
            self._graphs[name] = write_graph(variant.model, self._folder / f"{name}.onnx")
        self._say(f"{name}: {'written' if report.written else 'NOT written'} ({report.reason})")

    def _sum_up(self, reports: list[PrecisionReport]) -> None:
        """What the precisions that were not written mean for who runs the bundle, and for who builds it again."""
        if is_fp32_on_jetson(reports):
            self._say("for a Jetson: FP32 only, since no graph in FP16 was written")
        integers = [r for r in reports if r.precision.startswith("int8")]
        if not integers or self._observations.source == "random observations":
            return
        file, observations = self._calibration, self._observations
        episodes = observations.episodes if file is None else file.data.episodes
        few = len(episodes) < FEW_EPISODES
        if few or not all(r.written for r in integers):
            counted = f"INT8: calibrated with {_episodes(episodes)}, judged by {_episodes(observations.judges)}"
            self._say(f"WARNING: {counted}; record more, for ranges of so few may not hold" if few else counted)

    def _write_golden(self, parity: ErrorReport, variants: list[Variant]) -> GoldenSpec:
        samples, scale = self._observations.golden, self._observations.scale
        cameras = [camera.name for camera in self._policy.settings.cameras]
        arrays: dict[str, Any] = {f"image_{name}": np.stack([s.images[name] for s in samples]) for name in cameras}
        if self._policy.settings.state:
            arrays["state"] = np.stack([s.state for s in samples if s.state is not None])
        np.savez_compressed(
            self._folder / GOLDEN,
            instructions=np.array([sample.instruction for sample in samples]),
            actions=policy_actions(self._policy, samples),
            **arrays,
        )
        worst: dict[Precision, float] = {"fp32": largest(parity, scale)}
        worst.update({v.report.precision: v.worst for v in variants if v.report.written})
        tolerance = {p: max(_FLOOR[p], _MARGIN * error) for p, error in worst.items()}
        return GoldenSpec(
            file=GOLDEN,
            count=len(samples),
            scale=tuple(scale.tolist()),
            moving=tuple(self._observations.moving.tolist()),
            tolerance=tolerance,
        )

    def _describe(
        self, text: TextSpec | None, parity: ErrorReport, variants: list[Variant], golden: GoldenSpec
    ) -> Manifest:
        settings, observations = self._policy.settings, self._observations
        integers = any(v.report.precision.startswith("int8") for v in variants)
        return Manifest(
            version=self._options.version,
            name=settings.name,
            family=settings.family,
            action=settings.action,
            cameras=settings.cameras,
            state=settings.state,
            horizon=settings.horizon,
            dt_s=settings.dt_s,
            replan_s=settings.replan_s,
            execution=self._options.execution or settings.execution,
            ensemble_coefficient=settings.ensemble_coefficient,
            resize=settings.resize,
            text=text,
            graphs=self._graphs,
            normalization=Normalization(mean=self._policy.actions.mean, std=self._policy.actions.std),
            golden=golden,
            parity=parity,
            precision=tuple(v.report for v in variants),
            calibration=provenance(observations, self._options.wish.method, self._calibration) if integers else None,
            builder={"python": platform.python_version(), **{name: version(name) for name in _BUILDERS}},
            files=digest_files(self._folder),
        )
