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
from jetvla.runtime.errors import JetvlaError


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table; 1 on a user's error, or when a way got too few undisturbed samples."""
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
    five = kinds.add_parser("jitter")
    five.add_argument("bundle", type=Path)
    five.add_argument("--seconds", type=float, default=30.0, help="of each way (default: 30)")
    five.set_defaults(run=_jitter)
    six = kinds.add_parser("choice")
    six.add_argument("bundle", type=Path)
    six.add_argument("--engines", type=Path, required=True, metavar="DIR")
    six.add_argument("--threads", type=int, default=os.cpu_count(), help="of every candidate (default: every core)")
    six.set_defaults(run=_choice)
    seven = kinds.add_parser("overhead")
    seven.add_argument("bundle", type=Path)
    seven.set_defaults(run=_overhead)
    three = kinds.add_parser("numerics")
    three.add_argument("--size", choices=("base", "tiny"), default="base")
    three.set_defaults(run=_numerics)
    five = kinds.add_parser("seams")
    five.add_argument("bundle", type=Path)
    five.add_argument("data", type=Path)
    five.add_argument("--episode", metavar="NAME", help="(default: the last one)")
    five.add_argument("--replan", type=float, metavar="S", help="time between chunks (default: the bundle's)")
    five.add_argument(
        "--latency", type=float, default=0.1, metavar="S", help="from a frame to its chunk (default: 0.1)"
    )
    five.add_argument("--speed", type=float, default=1.0, metavar="X", help="all limits of rates times this")
    five.set_defaults(run=_seams)
    arguments = parser.parse_args(argv)
    try:
        figures, enough = arguments.run(arguments, Console(width=120))
    except JetvlaError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
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


def _jitter(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.engines.bench.jitter import jitter

    rows = jitter(arguments.bundle, arguments.seconds)
    title = f"lateness of a 100 Hz tick, {rows[0].ticks} ticks each in turns, the policy on every core, microseconds"
    table = _table(title, "way", "scheduling", "p50", "p99", "max")
    for r in rows:
        table.add_row(r.way, r.scheduling, f"{r.p50_us:.0f}", f"{r.p99_us:.0f}", f"{r.max_us:.0f}")
    console.print(table)
    return [dataclasses.asdict(row) for row in rows], True


def _choice(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.engines.bench.choice import choice
    from jetvla.runtime.bundle import Bundle

    result = choice(Bundle.open(arguments.bundle, None), arguments.engines, arguments.threads)
    title = f"candidates that compute right, {arguments.threads} threads, medians, samples in turns"
    table = _table(title, "candidate", "ms", "samples", "dropped")
    for c in result.candidates:
        name = f"{c.name} (chosen)" if c.name == result.chosen else c.name
        table.add_row(name, f"{c.ms:.1f}", str(c.accepted), str(c.dropped))
    console.print(table)
    return dataclasses.asdict(result), all(c.accepted >= ACCEPTED for c in result.candidates)


def _overhead(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.engines.bench.overhead import FRAMES, overhead
    from jetvla.runtime.bundle import Bundle

    result = overhead(Bundle.open(arguments.bundle, None))
    title = f"one 640x480 frame outside the engine, milliseconds, runs of {FRAMES} frames in turns"
    table = _table(title, "way", "p50", "p99", "runs", "dropped")
    for c in result.costs:
        table.add_row(c.way, f"{c.p50_ms:.2f}", f"{c.p99_ms:.2f}", str(c.accepted), str(c.dropped))
    console.print(table)
    return dataclasses.asdict(result), all(c.accepted >= ACCEPTED for c in result.costs)


def _numerics(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.engines.bench.numerics import numerics

    result = numerics(arguments.size)
    table = _table(f"{arguments.size} size, INT8 output against FP32", "weights", "SmoothQuant", "SQNR, dB", "s")
    for row in result.rows:
        table.add_row(row.weights, row.smooth, f"{row.sqnr_db:.1f}", f"{row.seconds:.0f}")
    console.print(table)
    console.print(f"peak memory of the process: {result.peak_mb:.0f} MB")
    return dataclasses.asdict(result), True


def _seams(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.calibration.episodes import open_episodes
    from jetvla.engines.bench.seams import RATES, named, recorded_chunks, seams
    from jetvla.runtime.bundle import Bundle
    from jetvla.runtime.guard.chunk import ChunkTiming
    from jetvla.runtime.guard.limits import Limits

    bundle, episode = Bundle.open(arguments.bundle, None), named(open_episodes(arguments.data), arguments.episode)
    timing = ChunkTiming.of(bundle.manifest)
    if arguments.replan is not None:
        timing = dataclasses.replace(timing, replan_s=arguments.replan)
    comings = recorded_chunks(bundle, episode, timing.replan_s, arguments.latency)
    limits = Limits().scaled(**dict.fromkeys(RATES, arguments.speed))
    rows = seams(comings, bundle.manifest.action, timing, limits)
    apart = f"{len(comings)} chunks, {timing.replan_s:.3g} s apart"
    title = f"{bundle.manifest.name} on {episode.name}: {apart}, worst dimension"
    table = _table(title, "execution", "jump", "acceleration", "jerk", "typical jerk", "latching seams")
    for r in rows:
        numbers = (f"{x:.3g}" for x in (r.jump, r.acceleration, r.jerk, r.typical_jerk))
        table.add_row(r.execution, *numbers, str(r.latches))
    console.print(table)
    return [dataclasses.asdict(row) for row in rows], True


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


if __name__ == "__main__":
    sys.exit(main())
