"""From a float32 step graph to its INT8 graph: SmoothQuant or not, ranges, and which blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.ranges import AbsoluteHistogram, Method
from jetvla.engines.blocks import find_blocks, multiplications
from jetvla.engines.parity import Actions, compare, graph_actions
from jetvla.engines.precision import SEARCH_LIMIT, BlockSearch, Judge
from jetvla.engines.quantize import Quantized, collect_ranges, find_sites, quantize
from jetvla.engines.runner import GraphRunner
from jetvla.engines.smooth import ALPHA, collect_maxima, find_foldable, fold, smoothing_factors
from jetvla.runtime.errors import ConfigError, EngineError
from jetvla.runtime.manifest import BlockReport

if TYPE_CHECKING:
    from onnx import ModelProto

Smooth = Literal["auto", "on", "off"]
# Calibration samples that the search measures each graph on: as many as this number of multiplications pays for,
# within bounds. A minute or two of a CPU for one graph would be hours for the fifty of a large policy.
_SEARCH_MULTIPLICATIONS = 400 * 10**9
_FEWEST, _MOST = 16, 64


class Feeds(Protocol):
    """Inputs of the step graph; may be decoded anew in every iteration."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Mapping[str, NDArray[Any]]]: ...


@dataclass(frozen=True, eq=False)
class Ranges:
    """What calibration found.

    Attributes:
        limits: by activation, the |x| that becomes 127.
        factors: what SmoothQuant divided the channels of an activation by, float32 [C]; the limits are of the result.
        alpha: strength of SmoothQuant; None without it.
        seen: what the limits were found from; empty for the ranges of a file.
    """

    limits: Mapping[str, float]
    factors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    alpha: float | None = None
    seen: Mapping[str, AbsoluteHistogram] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How to quantize.

    Attributes:
        method: how a histogram becomes a range.
        smooth: SmoothQuant, or ``auto``: where it makes the action error smaller.
        by_block: search for the blocks that INT8 may take; else it takes all.
        ranges: to take instead of collecting them.
    """

    method: Method = "mse"
    smooth: Smooth = "auto"
    by_block: bool = True
    ranges: Ranges | None = None


@dataclass(frozen=True, eq=False)
class IntegerPlan:
    """All that an INT8 graph is made from.

    Attributes:
        step: float32, with SmoothQuant folded in.
        ranges: of the activations of ``step``.
        keep_float: blocks that stay in float.
        blocks: what is known of each block.
    """

    step: ModelProto
    ranges: Ranges
    keep_float: frozenset[str] = frozenset()
    blocks: tuple[BlockReport, ...] = ()

    def quantized(self) -> Quantized:
        """The graph."""
        return quantize(self.step, self.ranges.limits, self.keep_float)


class Planner:
    """Decides how ``step`` is quantized, by the calibration samples alone.

    Raises:
        ConfigError: the recipe's ranges are of another graph, or not of the SmoothQuant that it asks for.
    """

    def __init__(
        self, step: ModelProto, calibration: Feeds, judge: Judge, recipe: Recipe, say: Callable[[str], None]
    ) -> None:
        bench = _Bench(step, calibration, judge)
        candidates = [_calibrated(step, calibration, recipe, alpha) for alpha in _alphas(step, recipe)]
        plan, score = _best(candidates, bench, say)
        blocks = find_blocks(plan.step)
        every = [BlockReport(name=b.name, precision="int8", alone=None, together=score, share=b.share) for b in blocks]
        self.everything = replace(plan, blocks=tuple(every))
        self._search = BlockSearch(blocks, lambda keep_float: bench.score(replace(plan, keep_float=keep_float)), say)

    def by_block(self, limit: float) -> IntegerPlan:
        """As many multiplications in INT8 as ``limit`` of the tolerance allows. Where it allows none it is all of
        them, to be judged and reported as too much."""
        placed, plan = self._search.place(limit), self.everything
        if len(placed.keep_float) < len(placed.reports):
            return replace(plan, keep_float=placed.keep_float, blocks=placed.reports)
        pairs = zip(plan.blocks, placed.reports, strict=True)
        return replace(plan, blocks=tuple(block.model_copy(update={"alone": found.alone}) for block, found in pairs))


def plan_integers(
    step: ModelProto, calibration: Feeds, judge: Judge, recipe: Recipe, say: Callable[[str], None]
) -> IntegerPlan:
    """What a :class:`Planner` decides at first."""
    planner = Planner(step, calibration, judge, recipe, say)
    return planner.by_block(SEARCH_LIMIT) if recipe.by_block else planner.everything


def _best(plans: list[IntegerPlan], bench: _Bench, say: Callable[[str], None]) -> tuple[IntegerPlan, float]:
    """The plan with the smallest action error, and that error; the first of equals."""
    scores = [bench.score(plan) for plan in plans]
    for plan, score in zip(plans, scores, strict=True):
        how = "without SmoothQuant" if plan.ranges.alpha is None else f"with SmoothQuant {plan.ranges.alpha}"
        say(f"every block in INT8 {how}: {score:.2f} of tolerance")
    best = int(np.argmin(scores))
    return plans[best], scores[best]


def _alphas(step: ModelProto, recipe: Recipe) -> list[float | None]:
    """Strengths of SmoothQuant to try."""
    if recipe.ranges is not None:
        have = "off" if recipe.ranges.alpha is None else "on"
        if recipe.smooth not in ("auto", have):
            raise ConfigError(
                f"--smooth {recipe.smooth}: the calibration file was made with SmoothQuant {have}, and its ranges hold "
                f"for that alone; leave --smooth out, or make the calibration again"
            )
        return [recipe.ranges.alpha]
    if recipe.smooth == "off" or not find_foldable(step):
        return [None]
    return [ALPHA] if recipe.smooth == "on" else [None, ALPHA]


def _calibrated(step: ModelProto, calibration: Feeds, recipe: Recipe, alpha: float | None) -> IntegerPlan:
    if recipe.ranges is not None:
        return _known(step, recipe.ranges)
    factors = {} if alpha is None else smoothing_factors(step, collect_maxima(step, calibration), alpha)
    model = fold(step, factors) if factors else step
    seen = collect_ranges(model, find_sites(model), calibration)
    limits = {name: histogram.limit(recipe.method) for name, histogram in seen.items()}
    return IntegerPlan(model, Ranges(limits, factors, alpha, seen))


def _known(step: ModelProto, ranges: Ranges) -> IntegerPlan:
    missing = [site.activation for site in find_sites(step) if site.activation not in ranges.limits]
    strange = set(ranges.factors) - {one.output for one in find_foldable(step)}
    if missing or strange:
        raise ConfigError(
            f"the calibration file does not fit the policy's graph, first at {(*missing, *sorted(strange))[0]!r}: it "
            "is of another policy or version; make the calibration again"
        )
    return IntegerPlan(fold(step, ranges.factors) if ranges.factors else step, ranges)


class _Bench:
    """Measures INT8 graphs against the float32 one on a few calibration samples, which it keeps in memory."""

    def __init__(self, step: ModelProto, calibration: Feeds, judge: Judge) -> None:
        afforded = _SEARCH_MULTIPLICATIONS // sum(multiplications(step).values())
        count = min(max(_FEWEST, min(afforded, _MOST)), len(calibration))
        chosen = set(np.linspace(0, len(calibration) - 1, count).round().astype(int).tolist())
        self._feeds = [feed for number, feed in enumerate(calibration) if number in chosen]
        self._truth: Actions = graph_actions(GraphRunner.of_model(step), self._feeds)
        self._judge = judge

    def score(self, plan: IntegerPlan) -> float:
        """Tolerance-relative action error; infinite if an action is not finite."""
        runner = GraphRunner.of_model(plan.quantized().model)
        try:
            actions = graph_actions(runner, self._feeds)
        except EngineError:
            return float("inf")
        return self._judge.score(compare(actions, self._truth))
