"""The step graph in other precisions, and whether each is good enough to ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.half import to_half
from jetvla.engines.observations import Observations
from jetvla.engines.parity import Actions, compare, graph_actions
from jetvla.engines.quantize import Quantized, collect_ranges, find_sites, quantize
from jetvla.engines.runner import GraphRunner
from jetvla.runtime.errors import ConfigError, EngineError
from jetvla.runtime.manifest import Precision, PrecisionReport

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


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
        request: ``int8`` fails where ``auto`` falls back to float.
        target: where it will run.
        tolerance: largest :attr:`PrecisionReport.relative_error`.
        force: ship what was asked for even when it is over tolerance.
    """

    request: Request
    target: Target
    tolerance: float
    force: bool

    def precisions(self) -> tuple[Precision, ...]:
        """What to try; ConfigError if the request makes no sense on the target."""
        if (self.request, self.target) not in _TRIED:
            raise ConfigError(
                f"--precision {self.request} is of no use with --target {self.target}: a CPU computes FP16 in FP32; "
                "choose --target jetson or both"
            )
        return _TRIED[(self.request, self.target)]


@dataclass(frozen=True)
class Variant:
    """One tried precision; ``worst`` is the largest error on the held-out samples, divided by the scale."""

    model: ModelProto
    report: PrecisionReport
    worst: float


def make_variants(
    step: ModelProto,
    observations: Observations,
    calibration: Sequence[Mapping[str, Array]],
    held_out: Sequence[Mapping[str, Array]],
    truth: Actions,
    wish: Wish,
) -> list[Variant]:
    """Try every precision of ``wish``.

    Args:
        step: the FP32 step graph.
        observations: says how errors are scaled.
        calibration: step inputs for activation ranges.
        held_out: step inputs to judge by.
        truth: FP32 actions for ``held_out``.
        wish: what was asked for.

    Raises:
        EngineError: ``int8`` was asked for, is over tolerance, and was not forced.
    """
    tried = wish.precisions()
    quantized = None
    if any(p.startswith("int8") for p in tried):
        quantized = quantize(step, collect_ranges(step, find_sites(step), calibration))
    variants = [_try(p, step, quantized, observations, held_out, truth, wish) for p in tried]
    failed = [v for v in variants if not v.report.written and v.report.precision.startswith(wish.request)]
    if failed:
        reasons = "; ".join(f"{v.report.precision}: {v.report.reason}" for v in failed)
        raise EngineError(
            f"{reasons}; use --precision auto to ship float instead, raise --tolerance, or insist with --force"
        )
    return variants


def _try(
    precision: Precision,
    step: ModelProto,
    quantized: Quantized | None,
    observations: Observations,
    held_out: Sequence[Mapping[str, Array]],
    truth: Actions,
    wish: Wish,
) -> Variant:
    base = step if quantized is None or precision == "fp16" else quantized.model
    model = to_half(base) if precision.endswith("fp16") else base
    report = compare(graph_actions(GraphRunner.of_model(model), held_out), truth)
    scale, moving = observations.scale, observations.moving
    shares = np.array(report.mean) / scale
    relative = float(shares[moving].mean() if moving.any() else shares.mean())
    good = relative <= wish.tolerance
    verdict = f"action error {relative:.2%} of range, tolerance {wish.tolerance:.2%}"
    integers = quantized if precision.startswith("int8") else None
    return Variant(
        model,
        PrecisionReport(
            precision=precision,
            written=good or wish.force,
            reason=verdict if good else f"{verdict}: over it" + (", forced" if wish.force else ""),
            held_out=observations.source,
            error=report,
            relative_error=relative,
            tolerance=wish.tolerance,
            quantized_nodes=integers.quantized_nodes if integers else 0,
            float_nodes=integers.float_nodes if integers else 0,
        ),
        float((np.array(report.max) / scale).max()),
    )
