"""What jetvla promises of its speed, and whether it was measured so.

A goal has a gate, which must hold, and an aim. Both are bounds of the numbers that a measurement gave. A number that
was not measured (NaN) holds no bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["aim reached", "gate reached", "MISSED", "TOO FEW SAMPLES", "not measured"]


@dataclass(frozen=True)
class Bound:
    """``least`` or most of a number; ``unit`` and ``digits`` are for people."""

    limit: float
    least: bool
    unit: str
    digits: int

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.show(self.limit)}"

    def show(self, value: float) -> str:
        """A measured number as the limit is written."""
        number = f"{value:.0e}" if self.unit == "error" else f"{value:.{self.digits}f}"
        return f"{number}{'' if self.unit == 'error' else self.unit}"


@dataclass(frozen=True)
class Goal:
    """What is promised; ``gate`` and ``aim`` bound the same numbers in the same order, an aim of None asks no more."""

    title: str
    gate: tuple[Bound, ...]
    aim: tuple[Bound | None, ...]


@dataclass(frozen=True)
class Measured:
    """What was found for a goal.

    Attributes:
        values: in the order of the goal's bounds.
        ours, baseline: for people.
        samples: the fewest accepted ones of a way; ``needed`` are enough.
        note: what the figures include, or what stands in the way.
    """

    values: tuple[float, ...]
    ours: str
    baseline: str
    samples: int
    needed: int
    note: str = ""


def verdict(goal: Goal, measured: Measured | None) -> Verdict:
    """Whether the goal is reached."""
    if measured is None:
        return "not measured"
    if measured.samples < measured.needed:
        return "TOO FEW SAMPLES"
    if not _hold(goal.gate, measured.values):
        return "MISSED"
    return "aim reached" if _hold(goal.aim, measured.values) else "gate reached"


def _hold(bounds: Sequence[Bound | None], values: Sequence[float]) -> bool:
    return all(bound is None or bound.holds(value) for bound, value in zip(bounds, values, strict=True))


def _times(limit: float) -> Bound:
    return Bound(limit, True, "×", 2)


def _most(limit: float, unit: str, digits: int = 0) -> Bound:
    return Bound(limit, False, unit, digits)


FP32 = Goal("FP32, exact, against the course", (_times(1.5), _most(1e-5, "error")), (_times(1.8), None))
# The second number is the error over the default quantizer's.
INT8_COMPILED = Goal(
    "INT8 against the course, compiled for this CPU (on a machine with AMX)",
    (_times(5.0), _most(1.0, " of the default quantizer's error", 2)),
    (_times(6.0), None),
)
INT8_PORTABLE = Goal("INT8 against the course, portable graph", (_times(3.5),), (_times(5.0),))
CHOICE = Goal("chosen candidate against the best candidate", (_times(0.95),), (_times(1.0),))
OVERHEAD = Goal(
    "overhead outside the engine, fast path: p50, p99, against the course",
    (_most(0.6, " ms", 2), _most(1.2, " ms", 2), _times(6.0)),
    (None, None, _times(10.0)),
)
WAKE = Goal("guard's wake p99 with all cores busy", (_most(150, " µs"),), (_most(100, " µs"),))
BESIDE = Goal("inference slowed by guard and telemetry", (_most(3.0, " %", 1),), (_most(1.0, " %", 1),))
START = Goal("cold start to first action against the course", (_times(8.0),), (_times(12.0),))
MEMORY = Goal("resident memory against the course, both processes", (_times(4.0),), (_times(6.0),))
GUARD_MEMORY = Goal("guard process's resident memory with rclpy", (_most(80, " MB"),), (_most(50, " MB"),))
GOALS = (
    FP32,
    INT8_COMPILED,
    INT8_PORTABLE,
    CHOICE,
    OVERHEAD,
    WAKE,
    BESIDE,
    START,
    MEMORY,
    GUARD_MEMORY,
)
