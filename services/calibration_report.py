"""A calibration file on the terminal."""

from __future__ import annotations

from collections import defaultdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jetvla.calibration.calibration_file import CalibrationFile


def print_calibration(file: CalibrationFile, console: Console) -> None:
    """Where the ranges came from, the steps they were seen in, and every range, the most clipped one first."""
    console.print(_provenance(file), _ranges(file))


def _provenance(file: CalibrationFile) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, text in file.summary():
        table.add_row(heading, escape(text))
    steps = defaultdict(list)
    for sample in file.samples:
        steps[sample.episode].append(str(sample.step))
    for episode, chosen in steps.items():
        table.add_row("  steps", escape(f"{episode}: {' '.join(chosen)}"))
    return table


def _ranges(file: CalibrationFile) -> Table:
    table = Table(box=None)
    table.add_column("activation", overflow="fold")
    headings = ["limit", "largest", "kept", "numbers", *(["smoothed by"] if file.smoothing else [])]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in file.rows():
        cells = [f"{row.limit:.4g}", f"{row.largest:.4g}", f"{row.kept:.0%}", str(row.numbers)]
        factors = file.smoothing.get(row.activation)
        if file.smoothing:
            cells.append("" if factors is None else f"{min(factors):.3g} to {max(factors):.3g}")
        table.add_row(escape(row.activation), *cells)
    return table
