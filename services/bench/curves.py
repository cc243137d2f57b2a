"""Curves of growth: one small picture for each axis, and their numbers as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from jetvla.runtime.errors import MissingDependency
from jetvla.services.bench.growth import TITLES, Axis, Point
from jetvla.services.bench.machine import MachineReport

_SIZE_IN, _DPI = (4.4, 2.8), 100
_TIME, _AGE, _MEMORY = "#3b6fb6", "#a9c4e6", "#c0603b"


def draw(points: Sequence[Point], folder: Path) -> list[Path]:
    """Write ``AXIS.png`` to ``folder`` for every axis that has points; MissingDependency without matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_draw(axis, found, folder / f"{axis}.png") for axis in TITLES if (found := _of(points, axis))]


def _of(points: Sequence[Point], axis: Axis) -> list[Point]:
    return sorted((p for p in points if p.axis == axis), key=lambda p: p.value)


def _draw(axis: Axis, points: list[Point], path: Path) -> Path:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "the curves of growth", "pip install matplotlib") from None
    figure = Figure(figsize=_SIZE_IN, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    memory, x = figure.add_subplot(), [p.value for p in points]
    memory.plot(x, [p.memory_mb for p in points], "s-", color=_MEMORY, label="memory")
    memory.set_ylabel("MB", color=_MEMORY)
    steps = [p.step_ms for p in points if p.step_ms is not None]
    ages = [p.age_ms for p in points if p.age_ms is not None]
    if steps and ages:
        times = memory.twinx()
        times.plot(x, steps, "o-", color=_TIME, label="step")
        times.plot(x, ages, "o--", color=_AGE, label="age")
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
        f"| {TITLES[axis]} | {p.value} | {_ms(p.step_ms)} | {_ms(p.age_ms)} | {p.memory_mb:.0f} |"
        for axis in TITLES
        for p in _of(points, axis)
    )
    head = "| axis | value | step, ms | age, ms | memory, MB |\n| --- | --- | --- | --- | --- |"
    when = f"Measured by `make bench-growth` on {datetime.now():%Y-%m-%d} on: {machine}."
    return f"{when}\n\n{images}\n\n{head}\n{rows}\n"


def _ms(ms: float | None) -> str:
    return "–" if ms is None else f"{ms:.1f}"
