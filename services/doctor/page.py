"""The findings for people, and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetvla.services.doctor.examination import all_ready
from jetvla.services.doctor.finding import Finding


def print_page(findings: list[Finding], console: Console) -> None:
    """One line a finding: how it is, what it is, and what to do."""
    table = Table(box=None, show_header=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    for finding in findings:
        cells = (finding.what, finding.detail, "" if finding.ready else finding.remedy)
        table.add_row(_mark(finding), *map(escape, cells))
    console.print(table)
    missing = [finding.what for finding in findings if finding.needed and not finding.ready]
    console.print(f"missing: {', '.join(missing)}" if missing else "everything that is needed is ready", markup=False)


def as_json(findings: list[Finding]) -> str:
    return json.dumps({"ready": all_ready(findings), "findings": [asdict(f) for f in findings]}, indent=2)


def _mark(finding: Finding) -> str:
    if finding.ready:
        return "[green]ready[/green]"
    return "[red]missing[/red]" if finding.needed else "[yellow]absent[/yellow]"
