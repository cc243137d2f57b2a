"""The step graph in other precisions, and whether each is good enough to ship."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.ranges import Method
from jetvla.engines.half import rounded, to_half
from jetvla.engines.integers import Feeds, IntegerPlan, Planner, Ranges, Recipe, Smooth
from jetvla.engines.observations import Observations
from jetvla.engines.overflow import first_overflow
from jetvla.engines.parity import Actions, compare, graph_actions
from jetvla.engines.precision import SEARCH_LIMIT, Judge
from jetvla.engines.quantize import Quantized
from jetvla.engines.runner import GraphRunner
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import ConfigError, EngineError
from jetvla.runtime.manifest import ErrorReport, Precision, PrecisionReport

if TYPE_CHECKING:
    from onnx import ModelProto

Request = Literal["fp32", "fp16", "int8", "auto"]
Target = Literal["cpu", "jetson", "both"]
Array = NDArray[Any]

# What is tried for a request on a target; FP32 is always there.
_TRIED: dict[tuple[Request, Target], tuple[Precision, ...]] = {
    ("fp32", "cpu"): (),
    ("fp32", "jetson"): (),
    ("fp32", "both"): (),
    ("fp16", "jetson"): ("fp16",),
    ("fp16", "both"): ("fp16",),
    ("int8", "cpu"): ("int8-fp32",),
    ("int8", "jetson"): ("fp16", "int8-fp16"),
    ("int8", "both"): ("fp16", "int8-fp32", "int8-fp16"),
    ("auto", "cpu"): ("int8-fp32",),
    ("auto", "jetson"): ("fp16", "int8-fp16"),
    ("auto", "both"): ("fp16", "int8-fp32", "int8-fp16"),
}
# Shares of the tolerance that the search is held to, one after the other.
_LIMITS = (SEARCH_LIMIT, SEARCH_LIMIT / 2, SEARCH_LIMIT / 4)


@dataclass(frozen=True, eq=False)
class Wish:
    """What the user asked for.

    Attributes:
        request: ``int8`` puts every block into INT8, and fails where ``auto`` falls back to float.
        target: where it will run.
        tolerance: largest mean error per action dimension, in its unit; float64 [D].
        force: ship what was asked for even when it is over tolerance.
        method: how activation ranges are chosen.
        smooth: SmoothQuant; ``auto`` where it makes the action error smaller.
    """

    request: Request
    target: Target
    tolerance: NDArray[np.float64]
    force: bool = False
    method: Method = "mse"
    smooth: Smooth = "auto"

    def precisions(self) -> tuple[Precision, ...]:
        """What to try; ConfigError if the request makes no sense on the target."""
        if (self.request, self.target) not in _TRIED:
            raise ConfigError(
                f"--precision {self.request} is of no use with --target {self.target}: a CPU computes FP16 in FP32; "
                "choose --target jetson or both"
            )
        return _TRIED[(self.request, self.target)]

    def recipe(self, ranges: Ranges | None) -> Recipe:
        """How to quantize, with the ranges of a calibration file or None."""
        return Recipe(self.method, self.smooth, self.request == "auto", ranges)


@dataclass(frozen=True)
class Variant:
    """One tried precision.

    Attributes:
        model: the graph; None if there is none.
        report: what became of it.
        worst: largest error on the held-out samples, divided by the scale.
    """

    model: ModelProto | None
    report: PrecisionReport
    worst: float


def make_variants(
    step: ModelProto,
    action: ActionSpec,
    observations: Observations,
    calibration: Feeds,
    held_out: Sequence[Mapping[str, Array]],
    truth: Actions,
    wish: Wish,
    say: Callable[[str], None],
    ranges: Ranges | None = None,
) -> list[Variant]:
    """Try every precision of ``wish``.

    Args:
        step: the FP32 step graph.
        action: names and units, for the reasons.
        observations: says how errors are scaled, and which dimensions move.
        calibration: step inputs for ranges and for the search.
        held_out: step inputs to judge by.
        truth: FP32 actions for ``held_out``.
        wish: what was asked for.
        say: is told one line for each thing measured.
        ranges: of a calibration file; collected here without one.

    Raises:
        EngineError: ``int8`` or ``fp16`` was asked for, is not good enough, and was not forced.
        ConfigError: ``ranges`` do not fit the graph or the wish.
    """
    tried = wish.precisions()
    trial = _Trial(step, action, observations, held_out, truth, wish)
    variants = [trial.variant("fp16", None)] if "fp16" in tried else []
    integer = [precision for precision in tried if precision.startswith("int8")]
    if integer:
        recipe = wish.recipe(ranges)
        planner = Planner(step, calibration, trial.judge, recipe, say)
        variants += _by_block(planner, trial, integer) if recipe.by_block else trial.all_of(planner.everything, integer)
    failed = [v for v in variants if not v.report.written and v.report.precision.startswith(wish.request)]
    if failed:
        reasons = "; ".join(f"{v.report.precision}: {v.report.reason}" for v in failed)
        raise EngineError(
            f"{reasons}; use --precision auto to ship float instead, raise --tolerance, or insist with --force"
        )
    return variants


def _by_block(planner: Planner, trial: _Trial, precisions: Sequence[Precision]) -> list[Variant]:
    """Variants by a search, which is asked for less if the held-out samples find them over tolerance.

    These samples never choose a block, and see so few plans that the best of them is no accident.
    """
    made: list[Variant] = []
    seen: set[frozenset[str]] = set()
    for limit in _LIMITS:
        plan = planner.by_block(limit)
        # A plan that keeps nothing in float after one that did is of no use: nothing fits any more.
        if plan.keep_float not in seen and (plan.keep_float or not made):
            seen.add(plan.keep_float)
            made = trial.all_of(plan, precisions)
            if all(variant.report.written or variant.model is None for variant in made):
                break
    return made


class _Trial:
    """Judges graphs by the held-out samples."""

    def __init__(
        self,
        step: ModelProto,
        action: ActionSpec,
        observations: Observations,
        held_out: Sequence[Mapping[str, Array]],
        truth: Actions,
        wish: Wish,
    ) -> None:
        self._step, self._action, self._observations = step, action, observations
        self._held_out, self._truth, self._wish = held_out, truth, wish
        self.judge = Judge(wish.tolerance, observations.moving)

    def all_of(self, plan: IntegerPlan, precisions: Sequence[Precision]) -> list[Variant]:
        """The INT8 graphs of ``plan``."""
        integers = plan, plan.quantized()
        return [self.variant(precision, integers) for precision in precisions]

    def variant(self, precision: Precision, integers: tuple[IntegerPlan, Quantized] | None) -> Variant:
        """The graph in ``precision``; ``integers`` are for the INT8 ones."""
        base = self._step if integers is None else integers[1].model
        model = None
        try:
            model = to_half(base) if precision.endswith("fp16") else base
            judged = rounded(model) if precision.endswith("fp16") else model
            error = compare(graph_actions(GraphRunner.of_model(judged), self._held_out), self._truth)
        except EngineError as problem:
            # Nobody may insist on a graph that overflows.
            endless = (float("inf"),) * len(self._action)
            error = ErrorReport(samples=len(self._held_out), max=endless, mean=endless)
            where = "" if model in (None, base) else first_overflow(base, model, self._held_out)
            reason = f"{problem}; {where}" if where else str(problem)
            return self._variant(None, self._report(precision, False, reason, error, integers))
        good = self.judge.score(error) <= 1
        verdict = self._verdict(error)
        reason = verdict if good else f"{verdict}: over it" + (", forced" if self._wish.force else "")
        return self._variant(model, self._report(precision, good or self._wish.force, reason, error, integers))

    def _variant(self, model: ModelProto | None, report: PrecisionReport) -> Variant:
        return Variant(model, report, float((np.array(report.error.max) / self._observations.scale).max()))

    def _verdict(self, error: ErrorReport) -> str:
        shares = self.judge.shares(error)
        worst = int(shares.argmax())
        dimension, limit = self._action.dimensions[worst], self._wish.tolerance[worst]
        unit = "" if dimension.unit == "1" else f" {dimension.unit}"
        return (
            f"action error of {dimension.name}, the worst, is {error.mean[worst]:.2g}{unit}, {shares[worst]:.0%} of "
            f"its tolerance {limit:.2g}{unit}"
        )

    def _report(
        self,
        precision: Precision,
        written: bool,
        reason: str,
        error: ErrorReport,
        integers: tuple[IntegerPlan, Quantized] | None,
    ) -> PrecisionReport:
        # On the scale instead of the tolerance.
        relative = Judge(self._observations.scale, self._observations.moving).score(error)
        report = PrecisionReport(
            precision=precision,
            written=written,
            reason=reason,
            held_out=self._observations.source,
            error=error,
            relative_error=relative,
            tolerance=tuple(self._wish.tolerance.tolist()),
            tolerance_share=self.judge.score(error),
        )
        if integers is None:
            return report
        plan, quantized = integers
        return report.model_copy(
            update={
                "quantized_nodes": quantized.quantized_nodes,
                "float_nodes": quantized.float_nodes,
                "smooth_alpha": plan.ranges.alpha,
                "blocks": plan.blocks,
            }
        )
