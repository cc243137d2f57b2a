"""Activation ranges as a file of their own, to be used by several builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jetvla.calibration.calibration_file import ActivationRange, CalibrationFile, DataSource, SampleId
from jetvla.calibration.ranges import BINS, Method
from jetvla.engines.export import export_graph
from jetvla.engines.graph import graph_sha256, save_graph
from jetvla.engines.integers import Ranges, Recipe, Smooth, plan_integers
from jetvla.engines.observations import Observations, RecordedSamples
from jetvla.engines.parity import LanguageCache, StepInputs
from jetvla.engines.policy import Policy
from jetvla.engines.precision import Judge
from jetvla.engines.runner import GraphRunner, temporary_folder
from jetvla.engines.tolerance import Tolerance
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.manifest import CalibrationSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from onnx import ModelProto

    from jetvla.engines.families.family import ExportPlan


def calibrate(
    policy: Policy,
    observations: Observations,
    method: Method,
    smooth: Smooth,
    data: str,
    say: Callable[[str], None],
) -> CalibrationFile:
    """Run the calibration samples through the FP32 step graph, and describe what was seen.

    Args:
        policy: whose graph.
        observations: recorded ones.
        method: from a histogram to a range.
        smooth: SmoothQuant; ``auto`` keeps it where it makes the action error smaller.
        data: name of the recordings, for people.
        say: is told one line per thing measured.

    Raises:
        ConfigError: if ``observations`` were not recorded, or an instruction is longer than the policy reads.
    """
    samples = observations.calibration
    if not isinstance(samples, RecordedSamples):
        raise ConfigError("ranges are collected from recordings; give --episodes")
    policy.check_instructions(observations.instructions)
    plan = policy.family.export_plan(policy.network, policy.settings, policy.actions)
    step = export_graph(plan.graphs[-1], policy.family.block)
    feeds = StepInputs(samples, _language(policy, plan))
    judge = Judge(Tolerance().of(policy.settings.action, observations.scale), observations.moving)
    ranges = plan_integers(step, feeds, judge, Recipe(method, smooth, by_block=False), say).ranges
    return CalibrationFile(
        policy=policy.settings.name,
        graph_sha256=_digest(step),
        data=DataSource(name=data, sha256=observations.calibration_sha256(), episodes=observations.episodes),
        selection=observations.choice.how,
        seed=observations.choice.seed,
        samples=tuple(SampleId(episode=samples.episodes[e].name, step=s) for e, s in samples.chosen),
        method=method,
        bins=BINS,
        activations={
            name: ActivationRange(limit=limit, largest=ranges.seen[name].largest, count=ranges.seen[name].count)
            for name, limit in ranges.limits.items()
        },
        smooth_alpha=ranges.alpha,
        smoothing={name: tuple(map(float, factors)) for name, factors in ranges.factors.items()},
    )


def read_calibration(path: Path, judges: Sequence[str]) -> CalibrationFile:
    """The calibration file at ``path``; ConfigError if it is none, or was made with one of the episodes ``judges``."""
    file = CalibrationFile.read(path)
    both = sorted(set(file.data.episodes) & set(judges))
    if both:
        raise ConfigError(
            f"{path} was made with {', '.join(both)}, which would also judge: give the --episodes ({file.data.name}) "
            f"and --seed ({file.seed}) that it was made with, or others to judge by with --held-out"
        )
    return file


def provenance(observations: Observations, method: Method, file: CalibrationFile | None) -> CalibrationSpec:
    """What the ranges are from: the calibration ``file``, or without one ``observations`` and ``method``."""
    if file is not None:
        return CalibrationSpec(
            method=file.method,
            samples=len(file.samples),
            selection=file.selection,
            seed=file.seed,
            episodes=file.data.episodes,
            held_out=observations.judges,
            data_sha256=file.data.sha256,
        )
    return CalibrationSpec(
        method=method,
        samples=len(observations.calibration),
        selection=observations.choice.how,
        seed=observations.choice.seed,
        episodes=observations.episodes,
        held_out=observations.judges,
        data_sha256=observations.calibration_sha256(),
        coverage=observations.coverage,
    )


def file_ranges(file: CalibrationFile) -> Ranges:
    """The ranges in a calibration file."""
    return Ranges(
        {name: one.limit for name, one in file.activations.items()},
        {name: np.array(factors, np.float32) for name, factors in file.smoothing.items()},
        file.smooth_alpha,
    )


def _language(policy: Policy, plan: ExportPlan) -> LanguageCache | None:
    if policy.text is None:
        return None
    graph = GraphRunner.of_model(export_graph(plan.graphs[0]))
    return LanguageCache(policy, graph, None if plan.embedding is None else plan.embedding.numpy())


def _digest(step: ModelProto) -> str:
    """As of the file that a build writes."""
    with temporary_folder() as folder:
        path = folder / "step.fp32.onnx"
        save_graph(step, path)
        return graph_sha256(path)
