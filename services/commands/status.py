"""Print what the running guard reports: state, policy, rates, ages, stage times, faults."""

from __future__ import annotations

import argparse
import json
import time

from rich.console import Console
from rich.table import Table

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.status import Status, read_status
from jetvla.services.operator import add_config_option


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    parser.add_argument("--json", action="store_true", help="print the raw status")


def run(arguments: argparse.Namespace) -> int:
    config = load_config(arguments.config)
    status = read_status(config.status)
    now_ns = time.monotonic_ns()
    if not status.fresh(now_ns):
        age = "of before the machine was started" if status.age_s(now_ns) < 0 else f"{status.age_s(now_ns):.0f} s old"
        raise JetvlaError(f"{config.status} is {age}: the guard is not running; start it with 'jetvla run'")
    if arguments.json:
        print(json.dumps(status.as_dict(), indent=2))
    else:
        _print(status, Console())
    return 0


def _print(status: Status, console: Console) -> None:
    console.print(f"[bold]{status.state}[/bold]  {status.reason}")
    console.print(f"bundle {status.bundle[:16]}, instruction: {status.instruction or 'none'}")
    console.print(f"guard: {status.ticks} ticks, {status.scheduling}; policy: {status.policy}")
    if status.audit is not None:
        written, lost, suppressed, problem = (status.audit[n] for n in ("written", "lost", "suppressed", "problem"))
        console.print(
            f"audit: {written} lines written, {lost} lost, {suppressed} suppressed{problem and f'; {problem}'}"
        )
    console.print(stage_table(status.stages))
    for event in status.events:
        console.print(event)


def stage_table(stages: dict[str, dict[str, float]], title: str = "milliseconds") -> Table:
    """Milliseconds per stage, as percentiles."""
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    columns = ("p50", "p90", "p99", "p99.9", "max", "count")
    for column in columns:
        table.add_column(column, justify="right")
    for name, values in stages.items():
        table.add_row(name, *(f"{values[c]:.2f}" for c in columns[:-1]), f"{values['count']:.0f}")
    return table
