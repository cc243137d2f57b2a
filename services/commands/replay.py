"""Run a guard over a recording, and compare it command by command with what was done.

  jetvla replay run.mcap                          the same guard: exit status 1 if any command or state differs
  jetvla replay run.mcap --config jetvla.yaml     with the limits of this file: what would have changed

A recording that began in the middle of a run is replayed from the first arming in it on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError

if TYPE_CHECKING:
    from jetvla.services.recording.replay import Comparison


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="made by 'jetvla record'")
    parser.add_argument("--config", type=Path, help="take guard.limits from this file instead of the recorded ones")


def run(arguments: argparse.Namespace) -> int:
    from jetvla.services.recording.reading import Recording
    from jetvla.services.recording.replay import replay

    recording = Recording(arguments.file)
    setup = dict(recording.setup)
    if arguments.config is not None:
        setup["limits"] = load_config(arguments.config).limits
    found = replay(setup, recording.calls())
    if found.exact_ns is None:
        raise JetvlaError(
            f"{arguments.file}: none of its {found.skipped} ticks can be replayed, for the robot was not armed after "
            "the recording began; start to record first, then arm"
        )
    for line in _lines(found, recording.wall_ns):
        print(line)
    return 0 if found.same else 1


def _lines(found: Comparison, wall_ns: int) -> Iterator[str]:
    def moment(t_ns: int) -> str:
        wall = datetime.fromtimestamp((t_ns + wall_ns) / NS_PER_S, timezone.utc)
        return f"{(t_ns - (found.began_ns or 0)) / NS_PER_S:.3f} s ({wall:%Y-%m-%dT%H:%M:%S.%f}Z)"

    if found.skipped or found.lost:
        exact = moment(found.exact_ns or 0)
        yield f"{found.skipped} ticks skipped, {found.lost} calls not recorded; the first exact tick is at {exact}"
    yield f"{found.ticks} ticks, {found.commands} commands, largest difference {found.largest:g}"
    if found.first is None:
        return
    yield f"{found.differing} ticks differ, the first at {moment(found.first.at_ns)}:"
    for name, tick, entered in (
        ("recorded", found.first.recorded, found.recorded),
        ("replayed", found.first.replayed, found.replayed),
    ):
        yield f"  {name}: {tick}"
        yield "    states: " + ", ".join(f"{state} at {moment(t_ns)}" for t_ns, state in entered)
