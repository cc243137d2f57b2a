"""A data set's coverage for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetvla.calibration.coverage import Coverage, Spread

SENTENCES = 20


def as_json(coverage: Coverage) -> dict[str, Any]:
    """Everything but the histograms."""
    return {
        "episodes": coverage.episodes,
        "frames": coverage.frames,
        "duration_s": coverage.duration_s,
        "fps": list(coverage.fps),
        "cameras": {name: {"height": h, "width": w} for name, (h, w) in coverage.cameras.items()},
        "actions": _numbers_json(coverage.actions),
        "state": _numbers_json(coverage.state),
        "instructions": dict(coverage.instructions.most_common()),
        "missing": list(coverage.missing),
    }


def print_coverage(coverage: Coverage, title: str, console: Console) -> None:
    """The same as text and tables."""
    console.print(f"[bold]{escape(title)}[/bold]: {escape(summary(coverage))}", soft_wrap=True)
    for name, (height, width) in coverage.cameras.items():
        console.print(f"camera {name}: {width}x{height}", markup=False)
    for label, found in (("action", coverage.actions), ("state", coverage.state)):
        if found is not None:
            console.print(_table(label, found))
    common = coverage.instructions.most_common(SENTENCES)
    for text, frames in common:
        console.print(f"{frames:>8} frames: {text}", markup=False, soft_wrap=True)
    if len(coverage.instructions) > len(common):
        console.print(f"         and {len(coverage.instructions) - len(common)} instructions more")
    for line in coverage.missing:
        console.print(f"missing: {line}", markup=False, soft_wrap=True)


def summary(coverage: Coverage) -> str:
    """Episodes, frames, duration and rate on one line."""
    parts = [f"{coverage.episodes} episodes", f"{coverage.frames} frames"]
    if coverage.duration_s is not None:
        parts.append(f"{coverage.duration_s:.1f} s")
    if coverage.fps:
        parts.append(" and ".join(f"{rate:g}" for rate in coverage.fps) + " frames per second")
    return ", ".join(parts)


def _numbers_json(found: Spread | None) -> list[dict[str, Any]] | None:
    return None if found is None else [dict(zip(("name", *_COLUMNS), row, strict=True)) for row in _rows(found)]


_COLUMNS = ("min", "max", "mean", "std")


def _rows(found: Spread) -> Iterator[tuple[str, float, float, float, float]]:
    columns = (column.tolist() for column in (found.min, found.max, found.mean, found.std))
    return zip(found.names, *columns, strict=True)


def _table(label: str, found: Spread) -> Table:
    table = Table(title=f"{label}: {len(found.names)} numbers", title_justify="left")
    table.add_column("name")
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for name, *numbers in _rows(found):
        table.add_row(name.replace("[", r"\["), *(f"{number:.4g}" for number in numbers))
    return table
