"""See the package."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

import jetvla.services.bench as bench
from jetvla.runtime.errors import JetvlaError

# Under pytest and in containers Python is often told to keep no byte code; an installed package has its own.
_NO_BYTE_CODE = "PYTHONDONTWRITEBYTECODE"


def main(argv: Sequence[str] | None = None) -> int:
    """1 on a user's error, or if a goal could not be judged; a goal that is missed is said, and no error."""
    parser = argparse.ArgumentParser(
        prog="python -m jetvla.services.bench",
        description=bench.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, run in (("start", _start), ("memory", _memory), ("beside", _beside)):
        one = kinds.add_parser(name)
        one.add_argument("bundle", type=Path)
        one.add_argument("--engines", type=Path, required=True, metavar="DIR")
        if name != "beside":
            one.add_argument("--course", type=Path, required=True, metavar="DIR", help="files of the course's node")
        one.set_defaults(run=run)
    files = kinds.add_parser("course-files")
    files.add_argument("folder", type=Path)
    files.add_argument("--size", choices=("base", "tiny"), default="base")
    files.set_defaults(run=_course_files)
    growing = kinds.add_parser("growth")
    growing.add_argument("folder", type=Path, help="keeps what was measured, and goes on from there")
    growing.add_argument("--episodes", type=Path, required=True, metavar="DATA", help="calibrate the table robot")
    growing.add_argument("--write", type=Path, metavar="DOCUMENT", help="put pictures and numbers into it")
    growing.set_defaults(run=_growth)
    all_ = kinds.add_parser("goals")
    all_.add_argument("folder", type=Path)
    all_.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the table between its markers <!-- goals -->")
    all_.set_defaults(run=_goals)
    arguments = parser.parse_args(argv)
    os.environ.pop(_NO_BYTE_CODE, None)
    try:
        figures, judged = arguments.run(arguments, Console(width=160))
    except JetvlaError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0 if judged else 1


def _course_files(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.services.bench.course_files import write_course_files

    write_course_files(arguments.size, arguments.folder)
    console.print(f"files of the course's node, {arguments.size} size, random weights: {arguments.folder}")
    return {"folder": str(arguments.folder), "size": arguments.size}, True


def _start(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.services.bench.start import cold_start

    found = cold_start(arguments.bundle, arguments.engines, arguments.course)
    console.print(
        f"cold start to first action: ours {found.ours.median_s:.2f} s, the course {found.course.median_s:.2f} s, "
        f"{found.ratio.value:.1f}x ({found.ratio.low:.1f} to {found.ratio.high:.1f})"
    )
    return dataclasses.asdict(found), True


def _memory(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.services.bench.memory import memory

    found = memory(arguments.bundle, arguments.engines, arguments.course)
    for name, resident in (("guard", found.guard), ("policy", found.policy), ("course", found.course)):
        console.print(
            f"{name}: PSS {resident.pss:.0f} MB, RSS {resident.rss:.0f} MB, {resident.anonymous:.0f} MB in no file"
        )
    console.print(f"both of ours together take {found.ratio:.1f} times less")
    return dataclasses.asdict(found), True


def _beside(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.services.bench.beside import beside

    found = beside(arguments.bundle, arguments.engines)
    console.print(
        f"a turn of the policy: {found.alone.ms:.1f} ms alone, {found.guarded.ms:.1f} ms beside the guard, "
        f"{(found.ratio.value - 1):+.1%} ({(found.ratio.low - 1):+.1%} to {(found.ratio.high - 1):+.1%})"
    )
    return dataclasses.asdict(found), True


def _growth(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.services.bench.curves import draw, markdown
    from jetvla.services.bench.growth import cases, grow
    from jetvla.services.bench.machine import MachineReport
    from jetvla.services.bench.table import write_between
    from jetvla.services.demonstration.setting import ZOO

    arguments.folder.mkdir(parents=True, exist_ok=True)
    points = grow(
        cases(arguments.episodes, ZOO, arguments.folder / "bundles"), arguments.folder / "growth.json", console.print
    )
    if arguments.write is not None:
        pictures = draw(points, arguments.write.parent / "growth")
        write_between(arguments.write, "growth", markdown(points, pictures, arguments.write, MachineReport.here()))
    return [dataclasses.asdict(point) for point in points], True


def _goals(arguments: argparse.Namespace, console: Console) -> tuple[Any, bool]:
    from jetvla.services.bench.machine import MachineReport
    from jetvla.services.bench.results import Results
    from jetvla.services.bench.table import lines, markdown, terminal, write_between

    results = Results.read(arguments.folder)
    rows, machine = lines(results.measured()), MachineReport.here()
    console.print(terminal(rows))
    console.print(str(machine))
    if arguments.write is not None:
        write_between(
            arguments.write, "goals", markdown(rows, machine, *_times(Results.files(arguments.folder).values()))
        )
    return [dataclasses.asdict(row) for row in rows], all(row.judged for row in rows)


def _times(figures: Iterable[Path]) -> tuple[datetime, datetime]:
    """When the oldest and the newest figures were written."""
    written = [path.stat().st_mtime for path in figures]
    began, ended = (datetime.fromtimestamp(t, timezone.utc) for t in (min(written), max(written)))
    return began, ended


if __name__ == "__main__":
    sys.exit(main())
