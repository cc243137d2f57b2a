"""From a float32 step graph to its INT8 graph: SmoothQuant or not, ranges, and which blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.ranges import Method
from jetvla.engines.blocks import find_blocks
from jetvla.engines.parity import Actions, compare, graph_actions
from jetvla.engines.precision import Judge, search
from jetvla.engines.quantize import Quantized, collect_ranges, find_sites, quantize
from jetvla.engines.runner import GraphRunner
from jetvla.engines.smooth import ALPHA, collect_maxima, find_foldable, smooth
from jetvla.runtime.errors import ConfigError, EngineError
from jetvla.runtime.manifest import BlockReport

if TYPE_CHECKING:
    from onnx import ModelProto

Smooth = Literal["auto", "on", "off"]
# Calibration samples that the search measures its graphs on.
SEARCH_SAMPLES = 16


class Feeds(Protocol):
    """Inputs of the step graph; may be decoded anew in every iteration."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Mapping[str, NDArray[Any]]]: ...


@dataclass(frozen=True)
class Recipe:
    """How to quantize.

    Attributes:
        method: how a histogram becomes a range.
        smooth: SmoothQuant, or ``auto``: where it makes the action error smaller.
        by_block: search for the blocks that INT8 may take; else it takes all.
        limits: ranges to take instead of collecting them, by activation.
    """

    method: Method = "mse"
    smooth: Smooth = "auto"
    by_block: bool = True
    limits: Mapping[str, float] | None = None


@dataclass(frozen=True)
class IntegerPlan:
    """All that an INT8 graph is made from.

    Attributes:
        step: float32, with SmoothQuant folded in if ``alpha`` is there.
        limits: range of each activation of ``step``.
        keep_float: blocks that stay in float.
        blocks: what is known of each block.
        alpha: strength of SmoothQuant; None without it.
    """

    step: ModelProto
    limits: Mapping[str, float]
    keep_float: frozenset[str]
    blocks: tuple[BlockReport, ...]
    alpha: float | None

    def quantized(self) -> Quantized:
        """The graph."""
        return quantize(self.step, self.limits, self.keep_float)


def plan_integers(
    step: ModelProto, calibration: Feeds, judge: Judge, recipe: Recipe, say: Callable[[str], None]
) -> IntegerPlan:
    """Decide how ``step`` is quantized, by the calibration samples alone.

    Raises:
        ConfigError: the recipe's ranges are of another graph, or ask for SmoothQuant, which changes them.
    """
    bench = _Bench(step, calibration, judge)
    plans = [_all_integer(step, calibration, recipe, alpha) for alpha in _alphas(step, recipe)]
    scores = [bench.score(plan, frozenset()) for plan in plans]
    best = int(np.argmin(scores))
    for plan, score in zip(plans, scores, strict=True):
        how = "without SmoothQuant" if plan.alpha is None else f"with SmoothQuant {plan.alpha}"
        say(f"every block in INT8 {how}: {score:.2f} of tolerance")
    plan, score = plans[best], scores[best]
    del plans
    found = find_blocks(plan.step)
    if not recipe.by_block:
        reports = (BlockReport(name=b.name, precision="int8", alone=None, together=score, share=b.share) for b in found)
        return IntegerPlan(plan.step, plan.limits, frozenset(), tuple(reports), plan.alpha)
    placed = search(found, lambda keep_float: bench.score(plan, keep_float), say)
    if len(placed.keep_float) < len(found):
        return IntegerPlan(plan.step, plan.limits, placed.keep_float, placed.reports, plan.alpha)
    # Nothing fits. What is judged, and then reported as too much, is all of it.
    every = (report.model_copy(update={"precision": "int8", "together": score}) for report in placed.reports)
    return IntegerPlan(plan.step, plan.limits, frozenset(), tuple(every), plan.alpha)


def _alphas(step: ModelProto, recipe: Recipe) -> list[float | None]:
    """Strengths of SmoothQuant to try."""
    if recipe.limits is not None and recipe.smooth == "on":
        raise ConfigError("SmoothQuant changes the ranges of the calibration file; give only one of the two")
    if recipe.smooth == "off" or recipe.limits is not None or not find_foldable(step):
        return [None]
    return [ALPHA] if recipe.smooth == "on" else [None, ALPHA]


def _all_integer(step: ModelProto, calibration: Feeds, recipe: Recipe, alpha: float | None) -> IntegerPlan:
    model = step if alpha is None else smooth(step, collect_maxima(step, calibration), alpha)
    if recipe.limits is None:
        ranges = collect_ranges(model, find_sites(model), calibration)
        limits = {name: histogram.limit(recipe.method) for name, histogram in ranges.items()}
        return IntegerPlan(model, limits, frozenset(), (), alpha)
    missing = [site.activation for site in find_sites(model) if site.activation not in recipe.limits]
    if missing:
        raise ConfigError(
            f"the calibration file has no range of {', '.join(missing[:3])}: it is of another policy or version; "
            "calibrate again"
        )
    return IntegerPlan(model, recipe.limits, frozenset(), (), alpha)


class _Bench:
    """Measures INT8 graphs against the float32 one on a few calibration samples, which it keeps in memory."""

    def __init__(self, step: ModelProto, calibration: Feeds, judge: Judge) -> None:
        count = min(SEARCH_SAMPLES, len(calibration))
        chosen = set(np.linspace(0, len(calibration) - 1, count).round().astype(int).tolist())
        self._feeds = [feed for number, feed in enumerate(calibration) if number in chosen]
        self._truth: Actions = graph_actions(GraphRunner.of_model(step), self._feeds)
        self._judge = judge

    def score(self, plan: IntegerPlan, keep_float: frozenset[str]) -> float:
        """Tolerance-relative action error of ``plan`` with ``keep_float`` instead; infinite if an action is."""
        runner = GraphRunner.of_model(quantize(plan.step, plan.limits, keep_float).model)
        try:
            actions = graph_actions(runner, self._feeds)
        except EngineError:
            return float("inf")
        return self._judge.score(compare(actions, self._truth))
