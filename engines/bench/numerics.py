"""What the INT8 graph of the base-size reference still says, with and without SmoothQuant. Numbers only: the weights
are random, and fidelity is judged on trained checkpoints."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.export import export_graph
from jetvla.engines.integers import Recipe, Smooth, plan_integers
from jetvla.engines.observations import random_observations
from jetvla.engines.outliers import inject_into_graph
from jetvla.engines.parity import LanguageCache, StepInputs, graph_actions
from jetvla.engines.precision import Judge
from jetvla.engines.runner import GraphRunner
from jetvla.engines.sources import Declared, random_policy

if TYPE_CHECKING:
    from onnx import ModelProto

Feeds = Sequence[Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Numbers:
    """Signal-to-quantization-noise ratio of the actions, dB; ``seconds`` of calibrating and quantizing."""

    weights: str
    smooth: Smooth
    sqnr_db: float
    seconds: float


@dataclass(frozen=True)
class Numerics:
    """``rows`` of all cases, and the largest resident memory of the whole process, MB."""

    rows: tuple[Numbers, ...]
    peak_mb: float


def numerics(size: str = "base") -> Numerics:
    """Measure plain random weights, and the same function with outlier channels, with and without SmoothQuant."""
    policy = random_policy(size, Declared())
    observations = random_observations(policy.settings)
    plan = policy.family.export_plan(policy.network, policy.settings, policy.actions)
    language = GraphRunner.of_model(export_graph(plan.graphs[0]))
    cache = LanguageCache(policy, language, None if plan.embedding is None else plan.embedding.numpy())
    step = export_graph(plan.graphs[1], policy.family.block)
    judge = Judge(observations.scale, observations.moving)
    calibration = list(StepInputs(observations.calibration, cache))
    held_out = list(StepInputs(observations.held_out, cache))
    rows = []
    for weights, model in (("random", step), ("random, with outlier channels", inject_into_graph(step))):
        truth = graph_actions(GraphRunner.of_model(model), held_out)
        for smooth in ("off", "on"):
            began = time.perf_counter()
            actions = _integer_actions(model, calibration, held_out, judge, smooth)
            rows.append(Numbers(weights, smooth, sqnr_db(actions, truth), time.perf_counter() - began))
    return Numerics(tuple(rows), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def sqnr_db(actions: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """10 log10 of the power of ``truth`` over that of the error; infinite without error."""
    noise = float(np.square(actions.astype(np.float64) - truth).sum())
    return float(10 * np.log10(np.square(truth.astype(np.float64)).sum() / noise)) if noise else float("inf")


def _integer_actions(
    model: ModelProto, calibration: Feeds, held_out: Feeds, judge: Judge, smooth: Smooth
) -> NDArray[np.float32]:
    plan = plan_integers(model, calibration, judge, Recipe(smooth=smooth, by_block=False), lambda _: None)
    return graph_actions(GraphRunner.of_model(plan.quantized().model), held_out)
