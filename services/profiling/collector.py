"""Gathers what two daemons ran, from their rings of spans."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jetvla.runtime.telemetry.histogram import Histogram
from jetvla.runtime.telemetry.span_reader import Span
from jetvla.runtime.telemetry.stages import STAGE_NAMES
from jetvla.services.profiling.answers import Answers
from jetvla.services.profiling.record import MAX_FRAMES, MAX_SAMPLES, Figures, Frames, FrameStage

_NS_PER_US = 1e3
_NS_PER_MS = 1e6
# These run when the instruction changes, which it may have done once, before the warm-up was over.
ONCE = ("tokenize", "language")
# Frames that are still on their way, whose ends are yet to come.
_PENDING = 512


@dataclass(frozen=True, slots=True)
class Misses:
    """How many took longer than their deadline, ``of`` how many."""

    missed: int
    of: int


@dataclass(slots=True)
class StageSamples:
    """Every duration of a stage in fixed memory: a histogram of all, and the newest themselves."""

    deadline_ns: int | None = None
    histogram: Histogram = field(default_factory=Histogram)
    newest: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    missed: int = 0

    def add(self, ns: int) -> None:
        self.histogram.record(ns)
        self.newest.append(ns)
        self.missed += self.deadline_ns is not None and ns > self.deadline_ns

    def misses(self) -> Misses:
        return Misses(self.missed, self.histogram.percentiles().count)

    def figures(self) -> Figures:
        p = self.histogram.percentiles()
        p50, p90, p99, p999, most = (ns / _NS_PER_MS for ns in (p.p50, p.p90, p.p99, p.p999, p.max))
        return Figures(p.count, p50, p90, p99, p999, most, tuple(round(ns / _NS_PER_US, 1) for ns in self.newest))


class Collector:
    """Counts spans that ended at ``began_ns`` or later.

    Args:
        deadlines_ns: by stage; what took longer is counted as missed. With one of ``age``, so is a frame that was
            never obeyed, as :class:`Answers` says.
    """

    def __init__(self, began_ns: int, deadlines_ns: Mapping[str, int]) -> None:
        self._began_ns = began_ns
        self._stages = {name: StageSamples(deadlines_ns.get(name)) for name in STAGE_NAMES}
        self._answers = Answers(deadlines_ns["age"]) if "age" in deadlines_ns else None
        self._frames: dict[int, dict[str, Span]] = {}
        self._tick: Span | None = None

    def add(self, spans: Iterable[Span]) -> None:
        """Spans of one process, in their order."""
        for span in spans:
            if span.end_ns < self._began_ns:
                if span.stage in ONCE:
                    self._stages[span.stage].add(span.duration_ns)
                continue
            self._stages[span.stage].add(span.duration_ns)
            self._place(span)
            if self._answers is not None:
                self._follow(span, self._answers)
        for old in list(self._frames)[: -MAX_FRAMES - _PENDING]:
            del self._frames[old]

    def _place(self, span: Span) -> None:
        """A tick works on no frame; the command that it decided does, and follows it."""
        if span.stage == "guard":
            self._tick = span
        if span.frame_ns == 0:
            return
        frame = self._frames.setdefault(span.frame_ns, {})
        frame[span.stage] = span
        if span.stage == "publish" and self._tick is not None:
            frame["guard"] = self._tick

    def _follow(self, span: Span, answers: Answers) -> None:
        if span.stage == "step" and span.frame_ns >= self._began_ns:
            answers.acted(span.frame_ns)
        elif span.stage == "age":
            answers.obeyed(span.frame_ns, span.end_ns)
        elif span.stage == "guard":
            answers.ticked(span.end_ns)

    def replace(self, stage: str, durations_ns: Iterable[int]) -> None:
        """Take these for all that ``stage`` took."""
        self._stages[stage] = samples = StageSamples(self._stages[stage].deadline_ns)
        for ns in durations_ns:
            samples.add(ns)

    def count(self, stage: str) -> int:
        """How often ``stage`` ran."""
        return self._stages[stage].histogram.percentiles().count

    def misses(self) -> dict[str, Misses]:
        """Of every stage."""
        found = {name: stage.misses() for name, stage in self._stages.items()}
        if self._answers is not None:
            age, unanswered = found["age"], self._answers.missed
            found["age"] = Misses(age.missed + unanswered, age.of + unanswered)
        return found

    def figures(self) -> dict[str, Figures]:
        """Of the stages that ran."""
        found = {name: stage.figures() for name, stage in self._stages.items()}
        return {name: figures for name, figures in found.items() if figures.count}

    def frames(self) -> Frames:
        """Of the frames whose whole way is known, in the order of their capture."""
        whole = [(at, stages) for at, stages in sorted(self._frames.items()) if {"age", "step"} <= stages.keys()]
        whole = whole[-MAX_FRAMES:]
        ran = [name for name in STAGE_NAMES if any(name in stages for _, stages in whole)]
        captured = tuple(round((at - self._began_ns) / _NS_PER_MS, 1) for at, _ in whole)
        return Frames(captured, {name: _stage(name, whole) for name in ran})


def _stage(name: str, frames: list[tuple[int, dict[str, Span]]]) -> FrameStage:
    spans = [(at, stages.get(name)) for at, stages in frames]
    return FrameStage(
        tuple(math.nan if s is None else round((s.begin_ns - at) / _NS_PER_US, 1) for at, s in spans),
        tuple(math.nan if s is None else round(s.duration_ns / _NS_PER_US, 1) for _, s in spans),
    )
