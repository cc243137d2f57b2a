"""Curves of growth: one small picture for each axis, and their numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jetvla.runtime.errors import MissingDependency
from jetvla.services.bench.growth import ROUNDS, TITLES, Axis, Point
from jetvla.services.bench.machine import MachineReport

_SIZE_IN, _DPI = (4.4, 2.8), 100
_TIME, _AGE, _MEMORY = "#3b6fb6", "#a9c4e6", "#c0603b"


def draw(points: Sequence[Point], folder: Path) -> list[Path]:
    """Write ``AXIS.png`` to ``folder`` for every axis that has points; MissingDependency without matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw(axis, found, folder / f"{axis}.png") for axis in TITLES if (found := _of(points, axis))]


@dataclass(frozen=True)
class Spread:
    """The median of one figure over all turns, and its extremes."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(float(np.median(figures)), min(figures), max(figures))

    def __str__(self) -> str:
        return f"{self.median:.1f}" + (f" ({self.least:.1f}–{self.most:.1f})" if self.most > self.least else "")


@dataclass(frozen=True)
class Place:
    """What was found at one value of an axis; a build has no times."""

    value: int
    step: Spread | None
    age: Spread | None
    memory_mb: float


def _of(points: Sequence[Point], axis: Axis) -> list[Place]:
    places = []
    for value in sorted({p.value for p in points if p.axis == axis}):
        here = [p for p in points if (p.axis, p.value) == (axis, value)]
        steps = [p.step_ms for p in here if p.step_ms is not None]
        ages = [p.age_ms for p in here if p.age_ms is not None]
        step, age = (Spread.of(figures) if figures else None for figures in (steps, ages))
        places.append(Place(value, step, age, float(np.median([p.memory_mb for p in here]))))
    return places


def _draw(axis: Axis, places: list[Place], path: Path) -> Path:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "the curves of growth", "pip install matplotlib") from None
    figure = Figure(figsize=_SIZE_IN, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    memory, x = figure.add_subplot(), [p.value for p in places]
    memory.plot(x, [p.memory_mb for p in places], "s-", color=_MEMORY, label="memory")
    memory.set_ylabel("MB", color=_MEMORY)
    steps = [p.step for p in places if p.step is not None]
    ages = [p.age for p in places if p.age is not None]
    if steps and ages:
        times = memory.twinx()
        for spreads, style, color, label in ((steps, "o-", _TIME, "step"), (ages, "o--", _AGE, "age")):
            middle = np.array([s.median for s in spreads])
            beyond = middle - [s.least for s in spreads], np.array([s.most for s in spreads]) - middle
            times.errorbar(x, middle, beyond, fmt=style, color=color, label=label, capsize=3)
        times.set_ylabel("ms", color=_TIME)
        times.set_ylim(bottom=0)
        times.legend(loc="upper left", fontsize="small")
    memory.set_ylim(bottom=0)
    memory.set_xticks(x, [str(value) for value in x])
    memory.set_xlabel(TITLES[axis])
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=_DPI)
    partial.replace(path)
    return path


def markdown(points: Sequence[Point], pictures: Sequence[Path], document: Path, machine: MachineReport) -> str:
    """Pictures and numbers, for ``document``."""
    images = "\n".join(f"![{p.stem}]({p.resolve().relative_to(document.resolve().parent)})" for p in pictures)
    rows = "\n".join(
        f"| {TITLES[axis]} | {p.value} | {p.step or '–'} | {p.age or '–'} | {p.memory_mb:.0f} |"
        for axis in TITLES
        for p in _of(points, axis)
    )
    head = "| axis | value | step, ms | age, ms | memory, MB |\n| --- | --- | --- | --- | --- |"
    days = " and ".join(sorted({p.day for p in points}))
    how = f"each policy {ROUNDS} times in turns: median (least–most)"
    when = f"Measured by `make bench-growth` on {days}, {how}, on: {machine}."
    return f"{when}\n\n{images}\n\n{head}\n{rows}\n"
