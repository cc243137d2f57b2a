"""How far the actions of each graph are from what they should be."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jetvla.runtime.manifest import BlockReport, Manifest, PrecisionReport
from jetvla.services.receipt.document import Badge, Bar, Cell, Column, Part, Section, Strip, Table
from jetvla.services.receipt.wording import PRECISION_NAMES, number, percent, plural

# A bar that is longer than this many tolerances says nothing more.
_LONGEST = 4.0


@dataclass(frozen=True)
class DimensionError:
    """Errors of one action dimension in ``unit``.

    ``share`` is the mean error divided by the tolerance; infinite where there is an error and no tolerance. ``judged``
    is False for a dimension that is over its tolerance and that the report passed over: it stood still in the
    recordings.
    """

    name: str
    unit: str
    max: float
    mean: float
    tolerance: float
    share: float
    judged: bool


def dimension_errors(m: Manifest, report: PrecisionReport) -> tuple[DimensionError, ...]:
    errors = []
    # Where nothing varies, everything is judged.
    moving = m.golden.moving if any(m.golden.moving) else (True,) * len(m.action)
    numbers = zip(m.action.dimensions, report.error.max, report.error.mean, report.tolerance, moving, strict=True)
    for dimension, largest, mean, tolerance, judged in numbers:
        share = mean / tolerance if tolerance else (math.inf if mean else 0.0)
        errors.append(DimensionError(dimension.name, dimension.unit, largest, mean, tolerance, share, judged))
    return tuple(errors)


def worst_dimension(m: Manifest, report: PrecisionReport) -> DimensionError:
    """The dimension that comes nearest to its tolerance, or is farthest above it."""
    errors = dimension_errors(m, report)
    judged = [e for e in errors if e.judged]
    # An error that is no number is worse than any.
    return max(judged or errors, key=lambda e: math.inf if math.isnan(e.share) else e.share)


def judges(report: PrecisionReport) -> str:
    """What the error was measured on."""
    if report.held_out == "held-out episodes":
        return f"{plural(report.error.samples, 'observation')} from held-out episodes"
    return plural(report.error.samples, "random observation")


def parity(m: Manifest) -> Section:
    columns = ("max", "mean", "max / range")
    rows = zip(m.action.dimensions, m.parity.max, m.parity.mean, m.golden.scale, strict=True)
    table = Table(
        "Difference of actions",
        (Column("dimension"), Column("unit", "word"), *(Column(name, "number") for name in columns)),
        tuple(
            (d.name, d.unit, number(most), number(mean), number(most / scale if scale else math.nan))
            for d, most, mean, scale in rows
        ),
    )
    compared = f"the FP32 graphs and the checkpoint in PyTorch, {plural(m.parity.samples, 'observation')}"
    return Section("Parity: FP32 against the checkpoint", (("Compared", compared),), (table,))


def precision(m: Manifest, report: PrecisionReport) -> Section:
    products = f"{report.quantized_nodes} in INT8, {report.float_nodes} in float"
    smooth = "not used" if report.smooth_alpha is None else f"strength {report.smooth_alpha:g}"
    integers: tuple[tuple[str, Cell], ...] = (("Weighted products", products), ("SmoothQuant", smooth))
    facts: tuple[tuple[str, Cell], ...] = (
        ("Graph", f"step.{report.precision}"),
        ("Outcome", Badge("written", "good") if report.written else Badge("not written", "bad")),
        ("Reason", report.reason),
        ("Judged on", judges(report)),
        ("Worst dimension", f"{percent(report.tolerance_share)} of its tolerance"),
        ("Largest mean error", f"{number(report.relative_error * 100)} % of range"),
        *(integers if report.precision.startswith("int8") else ()),
    )
    blocks = (_blocks(report.blocks),) if report.blocks else ()
    return Section(f"{PRECISION_NAMES[report.precision]} against FP32", facts, (_dimensions(m, report), *blocks))


def _dimensions(m: Manifest, report: PrecisionReport) -> Table:
    errors = dimension_errors(m, report)
    longest = _longest([e.share for e in errors])
    rows = tuple(
        (
            e.name,
            _against_tolerance(e.share, longest) if e.judged else f"{percent(e.share)}, not judged",
            number(e.mean),
            number(e.max),
            number(e.tolerance),
            e.unit,
        )
        for e in errors
    )
    columns = ("mean", "max", "tolerance")
    return Table(
        "Difference of actions",
        (
            Column("dimension"),
            Column("of tolerance", "word"),
            *(Column(name, "number") for name in columns),
            Column("unit", "word"),
        ),
        rows,
        "The mean error is judged; 100 % is the tolerance. A dimension that stood still in the recordings is not.",
    )


def _blocks(blocks: tuple[BlockReport, ...]) -> Table:
    largest = max(b.share for b in blocks) or 1.0
    alone = _longest([b.alone for b in blocks])
    together = _longest([b.together for b in blocks])
    rows = tuple(
        (
            b.name,
            Badge("INT8", "good") if b.precision == "int8" else Badge("float", "warning"),
            Bar(percent(b.share), _clamped(b.share / largest), "good" if b.precision == "int8" else "warning"),
            _against_tolerance(b.alone, alone),
            _against_tolerance(b.together, together),
        )
        for b in blocks
    )
    columns = ("runs in", "work", "error alone", "together")
    return Table(
        "Blocks",
        (Column("block"), *(Column(name, "word") for name in columns)),
        rows,
        "Work: part of the step's multiplications. Errors as parts of the tolerance of the worst dimension: of the "
        "block alone in INT8, and together with all blocks that were chosen before it; – was not measured.",
        _strip(blocks),
    )


def _strip(blocks: tuple[BlockReport, ...]) -> Strip:
    whole = sum(b.share for b in blocks) or 1.0
    integers = sum(b.share for b in blocks if b.precision == "int8")
    parts = tuple(
        Part(b.name, _clamped(b.share / whole), "good" if b.precision == "int8" else "warning") for b in blocks
    )
    return Strip(f"{percent(integers / whole)} of the blocks' multiplications are in INT8", parts)


def golden(m: Manifest) -> Section:
    rows = tuple(
        (PRECISION_NAMES[p], f"{number(allowed * 100)} % of range") for p, allowed in m.golden.tolerance.items()
    )
    table = Table("Allowed on another machine", (Column("precision"), Column("largest error", "number")), rows)
    samples = f"{m.golden.count} in {m.golden.file}, with the checkpoint's actions"
    return Section("Golden samples", (("Samples", samples),), (table,))


def _against_tolerance(share: float | None, longest: float) -> Cell:
    if share is None:
        return "–"
    # A number that is none is not within tolerance.
    within = share <= 1
    return Bar(percent(share), _clamped(share / longest), "good" if within else "bad", 1 / longest)


def _longest(shares: list[float] | list[float | None]) -> float:
    """The share at the end of every track: the tolerance, or the largest one above it."""
    known = [s for s in shares if s is not None and math.isfinite(s)]
    return min(max([1.0, *known]), _LONGEST)


def _clamped(part: float) -> float:
    return 1.0 if math.isnan(part) else min(max(part, 0.0), 1.0)
