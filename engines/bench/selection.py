"""Does a covering choice of few calibration samples do as well as many evenly spread ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from jetvla.calibration.episodes import Episode
from jetvla.calibration.select import Selection
from jetvla.engines.bench.fidelity import BundleFeeds
from jetvla.engines.compile_cpu import kept_float
from jetvla.engines.integers import Recipe, plan_integers
from jetvla.engines.observations import Choice, recorded_observations
from jetvla.engines.parity import compare, graph_actions
from jetvla.engines.precision import Judge
from jetvla.engines.runner import GraphRunner
from jetvla.runtime.bundle import Bundle

CHOICES: tuple[tuple[Selection, int], ...] = (("covering", 64), ("uniform", 64), ("uniform", 256))
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Chosen:
    """Errors of the INT8 graph on held-out episodes, with ranges from one choice of samples.

    Attributes:
        coverage: see :attr:`jetvla.runtime.manifest.CalibrationSpec.coverage`.
        worst: mean error of the worst dimension, as a share of its range.
        mean: over all dimensions that move.
    """

    how: Selection
    count: int
    seed: int
    coverage: float
    worst: float
    mean: float


def selection(bundle: Bundle, episodes: Sequence[Episode]) -> list[Chosen]:
    """Quantize the bundle's FP32 step graph with ranges of each choice; the blocks that the bundle keeps in float stay
    so. A seed also holds out other episodes, so only rows of one seed compare."""
    step = onnx.load(bundle.file(bundle.manifest.graphs["step.fp32"].file))
    runner, keep_float = GraphRunner.of_model(step), frozenset(kept_float(bundle.manifest))
    rows = []
    for seed in SEEDS:
        for how, count in CHOICES:
            seen = recorded_observations(episodes, bundle.manifest, Choice(count, how, seed))
            judge = Judge(seen.scale, seen.moving)
            feeds = BundleFeeds(bundle, seen.calibration)
            plan = plan_integers(step, feeds, judge, Recipe(smooth="off", by_block=False), lambda _: None)
            held_out = list(BundleFeeds(bundle, seen.held_out))
            actions = graph_actions(
                GraphRunner.of_model(replace(plan, keep_float=keep_float).quantized().model), held_out
            )
            shares = judge.shares(compare(actions, graph_actions(runner, held_out)))
            covered = float("nan") if seen.coverage is None else seen.coverage
            rows.append(Chosen(how, count, seed, covered, float(shares.max()), float(shares[seen.moving].mean())))
    return sorted(rows, key=lambda row: (row.seed, CHOICES.index((row.how, row.count))))


def average(rows: Sequence[Chosen], how: Selection, count: int) -> float:
    """The mean error of one choice over all seeds."""
    return float(np.mean([row.mean for row in rows if (row.how, row.count) == (how, count)]))
