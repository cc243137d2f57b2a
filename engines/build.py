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

from jetvla.engines.export import export_graph
from jetvla.engines.graph import write_graph
from jetvla.engines.observations import Observations
from jetvla.engines.parity import (
    LanguageCache,
    compare,
    graph_actions,
    largest,
    policy_actions,
    require_parity,
    step_inputs,
)
from jetvla.engines.policy import Policy
from jetvla.engines.publication import published
from jetvla.engines.runner import GraphRunner
from jetvla.engines.variants import Variant, Wish, make_variants
from jetvla.runtime.bundle import MANIFEST, SIGNATURE, digest_files
from jetvla.runtime.keys import load_private_key, sign
from jetvla.runtime.manifest import (
    CalibrationSpec,
    ErrorReport,
    GoldenSpec,
    GraphSpec,
    Manifest,
    Normalization,
    Precision,
    TextSpec,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LANGUAGE, STEP = "language.fp32", "step.fp32"
TOKENIZER, EMBEDDING, GOLDEN = "tokenizer.json", "embedding.npy", "golden.npz"
_BUILDERS = ("jetvla", "torch", "transformers", "onnx", "onnxruntime")
_NO_INFLUENCE = 1e-6
# Another machine sums in another order, and INT8 results differ with the instruction set: the golden tolerance is
# this many times the error measured here, and never below the floor.
_MARGIN = 4.0
_FLOOR: dict[Precision, float] = {"fp32": 1e-3, "fp16": 5e-3, "int8-fp32": 1e-2, "int8-fp16": 1e-2}


@dataclass(frozen=True)
class BuildOptions:
    """``key``: file of the private key, or None for an unsigned bundle; ``version``: of the bundle."""

    wish: Wish
    version: int = 1
    key: Path | None = None
    overwrite: bool = False


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
        ConfigError: the key or the output is wrong.
    """
    key = None if options.key is None else load_private_key(options.key)
    options.wish.precisions()
    with published(output, options.overwrite) as folder:
        manifest = _Builder(policy, observations, options, folder, say).manifest()
        _write_manifest(manifest, folder, key)
    return manifest


def _write_manifest(manifest: Manifest, folder: Path, key: Ed25519PrivateKey | None) -> None:
    raw = manifest.model_dump_json(indent=1).encode()
    if key is not None:
        (folder / SIGNATURE).write_bytes(sign(raw, key))
    (folder / MANIFEST).write_bytes(raw)


class _Builder:
    def __init__(
        self,
        policy: Policy,
        observations: Observations,
        options: BuildOptions,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self._policy, self._observations, self._options = policy, observations, options
        self._folder, self._say = folder, say
        self._graphs: dict[str, GraphSpec] = {}
        self._names = policy.settings.action.names

    def manifest(self) -> Manifest:
        """Write every other file, and describe them."""
        settings, observations = self._policy.settings, self._observations
        plan = self._policy.family.export_plan(self._policy.network, settings, self._policy.actions)
        language_source, step_source = plan.graphs
        embedding = None if plan.embedding is None else plan.embedding.numpy()
        step = export_graph(step_source)
        self._graphs[LANGUAGE] = write_graph(export_graph(language_source), self._folder / f"{LANGUAGE}.onnx")
        self._graphs[STEP] = write_graph(step, self._folder / f"{STEP}.onnx")
        text = self._write_text(embedding)
        cache = LanguageCache(self._policy, GraphRunner(self._folder / f"{LANGUAGE}.onnx"), embedding)
        camera = settings.cameras[0].name
        held_out = [step_inputs(sample, camera, cache) for sample in observations.held_out]
        actions = graph_actions(GraphRunner(self._folder / f"{STEP}.onnx"), held_out)
        parity = self._prove(actions)
        calibration = [step_inputs(sample, camera, cache) for sample in observations.calibration]
        variants = make_variants(step, observations, calibration, held_out, actions, self._options.wish)
        for variant in variants:
            self._keep(variant)
        return self._describe(text, parity, variants, self._write_golden(parity, variants))

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
        sample = self._observations.golden[0]
        one, other = (self._policy.act(sample.image, text) for text in (sample.instruction, "do something else"))
        return float((np.abs(one - other) / self._observations.scale).max()) < _NO_INFLUENCE

    def _write_text(self, embedding: NDArray[np.float32] | None) -> TextSpec:
        (self._folder / TOKENIZER).write_text(self._policy.text.json, encoding="utf-8")
        if embedding is not None:
            np.save(self._folder / EMBEDDING, embedding, allow_pickle=False)
        return TextSpec(
            tokenizer=TOKENIZER,
            max_tokens=self._policy.settings.text.max_tokens,
            pad_id=self._policy.text.pad_id,
            embedding=None if embedding is None else EMBEDDING,
        )

    def _keep(self, variant: Variant) -> None:
        report = variant.report
        name = f"step.{report.precision}"
        if report.written:
            self._graphs[name] = write_graph(variant.model, self._folder / f"{name}.onnx")
        self._say(f"{name}: {'written' if report.written else 'NOT written'} ({report.reason})")

    def _write_golden(self, parity: ErrorReport, variants: list[Variant]) -> GoldenSpec:
        samples, scale = self._observations.golden, self._observations.scale
        images = np.stack([sample.image for sample in samples])
        arrays: dict[str, Any] = {f"image_{self._policy.settings.cameras[0].name}": images}
        np.savez_compressed(
            self._folder / GOLDEN,
            instructions=np.array([sample.instruction for sample in samples]),
            actions=policy_actions(self._policy, samples),
            **arrays,
        )
        worst: dict[Precision, float] = {"fp32": largest(parity, scale)}
        worst.update({v.report.precision: v.worst for v in variants if v.report.written})
        tolerance = {p: max(_FLOOR[p], _MARGIN * error) for p, error in worst.items()}
        return GoldenSpec(file=GOLDEN, count=len(samples), scale=tuple(scale.tolist()), tolerance=tolerance)

    def _describe(self, text: TextSpec, parity: ErrorReport, variants: list[Variant], golden: GoldenSpec) -> Manifest:
        settings, observations = self._policy.settings, self._observations
        integers = any(v.report.precision.startswith("int8") for v in variants)
        calibration = CalibrationSpec(
            method="mse",
            samples=len(observations.calibration),
            episodes=observations.episodes,
            data_sha256=observations.calibration_sha256(),
        )
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
            resize=settings.resize,
            text=text,
            graphs=self._graphs,
            normalization=Normalization(mean=self._policy.actions.mean, std=self._policy.actions.std),
            golden=golden,
            parity=parity,
            precision=tuple(v.report for v in variants),
            calibration=calibration if integers else None,
            builder={"python": platform.python_version(), **{name: version(name) for name in _BUILDERS}},
            files=digest_files(self._folder),
        )
