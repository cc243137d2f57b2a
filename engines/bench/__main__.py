"""See the package."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import jetvla.engines.bench as bench
from jetvla.engines.bench.turns import ACCEPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table; 1 when a way got too few undisturbed samples."""
    parser = argparse.ArgumentParser(
        prog="python -m jetvla.engines.bench",
        description=bench.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("speed")
    one.add_argument("bundle", type=Path)
    one.add_argument("--engines", type=Path, required=True, metavar="DIR")
    one.add_argument("--threads", type=int, default=os.cpu_count(), help="of every way (default: every core)")
    one.set_defaults(run=_speed)
    two = kinds.add_parser("fidelity")
    two.add_argument("bundle", type=Path)
    two.add_argument("data", type=Path)
    two.add_argument("--engines", type=Path, metavar="DIR")
    two.set_defaults(run=_fidelity)
    four = kinds.add_parser("selection")
    four.add_argument("bundle", type=Path)
    four.add_argument("data", type=Path)
    four.set_defaults(run=_selection)
    three = kinds.add_parser("numerics")
    three.add_argument("--size", choices=("base", "tiny"), default="base")
    three.set_defaults(run=_numerics)
    arguments = parser.parse_args(argv)
    figures, enough = arguments.run(arguments, Console(width=120))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0 if enough else 1


def _speed(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.engines.bench.speed import speed
    from jetvla.runtime.bundle import Bundle

    result = speed(Bundle.open(arguments.bundle, None), arguments.engines, arguments.threads)
    title = f"base-size reference, one 640x480 frame, {result.threads} threads, medians, samples in turns"
    table = _table(title, "way", "ms", "x", "rel. error", "samples", "dropped")
    for r in result.rows:
        table.add_row(r.way, f"{r.ms:.1f}", f"{r.ratio:.2f}", f"{r.error:.1e}", str(r.accepted), str(r.dropped))
    console.print(table)
    share = result.share
    console.print(
        f"of the compiled step's kernels {share.products / share.total:.0%} is matrix multiplication (attention's "
        f"softmax included): {share.products:.1f} of {share.total:.1f} ms; the rest is "
        + ", ".join(f"{name} {ms:.1f}" for name, ms in share.rest[:6])
    )
    return dataclasses.asdict(result), all(r.accepted >= ACCEPTED for r in result.rows)


def _fidelity(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.calibration.episodes import open_episodes
    from jetvla.engines.bench.fidelity import fidelity
    from jetvla.runtime.bundle import Bundle

    bundle = Bundle.open(arguments.bundle, None)
    rows = fidelity(bundle, open_episodes(arguments.data), arguments.engines)
    title = f"{bundle.manifest.name}: action error against FP32, of range, {rows[0].report.samples} held-out samples"
    table = _table(title, "way", "mean", "worst dimension", "its error")
    names = bundle.manifest.action.names
    for row in rows:
        table.add_row(row.way, f"{row.mean:.3%}", names[row.worst_index], f"{row.worst:.3%}")
    console.print(table)
    return [dataclasses.asdict(row) | {"report": row.report.model_dump()} for row in rows], True


def _selection(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.calibration.episodes import open_episodes
    from jetvla.engines.bench.selection import CHOICES, average, selection
    from jetvla.runtime.bundle import Bundle

    bundle = Bundle.open(arguments.bundle, None)
    rows = selection(bundle, open_episodes(arguments.data))
    title = f"{bundle.manifest.name}: INT8 action error, of range, by choice of calibration samples"
    table = _table(title, "choice", "seed", "farthest step", "mean", "worst dimension")
    for r in rows:
        table.add_row(f"{r.count} {r.how}", str(r.seed), f"{r.coverage:.2f}", f"{r.mean:.3%}", f"{r.worst:.3%}")
    for how, count in CHOICES:
        table.add_row(f"{count} {how}", "all", "", f"{average(rows, how, count):.3%}", "")
    console.print(table)
    return [dataclasses.asdict(row) for row in rows], True


def _numerics(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.engines.bench.numerics import numerics

    result = numerics(arguments.size)
    table = _table(f"{arguments.size} size, INT8 output against FP32", "weights", "SmoothQuant", "SQNR, dB", "s")
    for row in result.rows:
        table.add_row(row.weights, row.smooth, f"{row.sqnr_db:.1f}", f"{row.seconds:.0f}")
    console.print(table)
    console.print(f"peak memory of the process: {result.peak_mb:.0f} MB")
    return dataclasses.asdict(result), True


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


if __name__ == "__main__":
    sys.exit(main())
