"""The table of goals, on the terminal and in a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.table import Table

from jetvla.runtime.errors import JetvlaError
from jetvla.services.bench.goals import GOALS, Bound, Goal, Measured, Verdict, verdict
from jetvla.services.bench.machine import MachineReport

_HEAD = ("goal", "ours", "baseline", "result", "gate", "aim", "verdict")
_UNJUDGED: tuple[Verdict, ...] = ("TOO FEW SAMPLES", "not measured")


@dataclass(frozen=True)
class Line:
    """One goal as text."""

    goal: str
    ours: str
    baseline: str
    result: str
    gate: str
    aim: str
    verdict: Verdict
    note: str

    @property
    def judged(self) -> bool:
        return self.verdict not in _UNJUDGED

    @property
    def failed(self) -> bool:
        return not self.judged or self.verdict == "MISSED"

    @property
    def cells(self) -> tuple[str, ...]:
        return self.goal, self.ours, self.baseline, self.result, self.gate, self.aim, self.verdict


def lines(measured: Mapping[Goal, Measured]) -> list[Line]:
    """Every goal, also those of which nothing is known."""
    return [_line(goal, measured.get(goal)) for goal in GOALS]


def _line(goal: Goal, found: Measured | None) -> Line:
    gate, aim = _joined(goal.gate), _joined(goal.aim)
    said = verdict(goal, found)
    if found is None:
        return Line(goal.title, "", "", "", gate, aim, said, "")
    result = ", ".join(bound.show(value) for bound, value in zip(goal.gate, found.values, strict=True))
    return Line(goal.title, found.ours, found.baseline, result, gate, aim, said, found.note)


def _joined(bounds: tuple[Bound | None, ...]) -> str:
    return ", ".join(str(bound) for bound in bounds if bound is not None)


def terminal(rows: list[Line]) -> Table:
    """For the terminal; what is not reached is red."""
    table = Table(title="goals", title_justify="left")
    for name in _HEAD:
        table.add_column(name)
    for row in rows:
        table.add_row(*row.cells, style="red" if row.failed else None)
    return table


def markdown(rows: list[Line], machine: MachineReport, began: datetime, ended: datetime) -> str:
    """For a document: where and when, the table, and a note for each goal."""
    head = f"| {' | '.join(_HEAD)} |\n|{' --- |' * len(_HEAD)}"
    body = "\n".join(f"| {' | '.join(_strong(row))} |" for row in rows)
    notes = "\n".join(f"- {row.goal}: {row.note}." for row in rows if row.note)
    when = f"Measured by `make bench` from {began:%Y-%m-%d %H:%M} to {ended:%H:%M} UTC on: {machine}."
    return f"{when}\n\n{head}\n{body}\n\n{notes}\n"


def _strong(row: Line) -> tuple[str, ...]:
    *cells, said = row.cells
    return (*cells, f"**{said}**" if row.failed else said)


def write_between(document: Path, name: str, text: str) -> None:
    """Replace what ``document`` has between ``<!-- name -->`` and ``<!-- /name -->``, atomically.

    Raises:
        JetvlaError: if the markers are not there, once each and in this order.
    """
    whole = document.read_text(encoding="utf-8")
    before, found, rest = whole.partition(f"<!-- {name} -->")
    _, ended, after = rest.partition(f"<!-- /{name} -->")
    if not found or not ended or f"<!-- {name} -->" in rest:
        raise JetvlaError(f"{document} must have <!-- {name} --> and then <!-- /{name} -->, once each")
    partial = document.with_name(f".{document.name}.partial")
    partial.write_text(f"{before}{found}\n{text.strip()}\n{ended}{after}", encoding="utf-8")
    partial.replace(document)
