"""The way of single frames, stage below stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jetvla.services.profiling.comparison import WHOLE_WAY
from jetvla.services.profiling.record import Frames
from jetvla.services.profiling.wording import milliseconds

_US_PER_MS = 1e3


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a frame; ``begin`` and ``length`` as parts of the drawing's width."""

    stage: str
    begin: float
    length: float
    begin_text: str
    text: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """``name`` says which frame it is."""

    name: str
    steps: tuple[Step, ...]


def waterfalls(frames: Frames) -> tuple[Waterfall, ...]:
    """The frame of median age and the one of the largest, each on a scale of its own; none without frames."""
    if WHOLE_WAY not in frames.stages:
        return ()
    ages = frames.stages[WHOLE_WAY].duration_us
    order = sorted(range(len(ages)), key=lambda index: ages[index])
    chosen = {"The median frame": order[(len(order) - 1) // 2], "The slowest frame": order[-1]}
    return tuple(_waterfall(name, frames, index) for name, index in chosen.items())


def _waterfall(name: str, frames: Frames, index: int) -> Waterfall:
    whole = frames.stages[WHOLE_WAY].duration_us[index]
    times = {s: (t.begin_us[index], t.duration_us[index]) for s, t in frames.stages.items()}
    steps = [_step(stage, begin, took, whole) for stage, (begin, took) in times.items() if not math.isnan(took)]
    at_s = frames.captured_ms[index] / 1e3
    return Waterfall(f"{name}: {milliseconds(whole / _US_PER_MS)} ms, captured at {at_s:.2f} s", tuple(steps))


def _step(stage: str, begin: float, took: float, whole: float) -> Step:
    left = min(max(begin / whole, 0.0), 1.0)
    length = min(took / whole, 1.0 - left)
    return Step(stage, left, length, milliseconds(begin / _US_PER_MS), milliseconds(took / _US_PER_MS))
