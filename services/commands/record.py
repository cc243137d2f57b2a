"""Record what the running guard is told and what it answers, into an MCAP file that Foxglove opens.

  jetvla record -o run.mcap              until Ctrl-C, a closed terminal, or the end of the guard
  jetvla record -o run.mcap --seconds 60

Chunks, health, stamps of frames, instructions, switches, peers, feedback, ticks, commands and events are each a topic;
images are not recorded. Begin before the robot is armed: jetvla replay can start at an arming only. The guard never
waits for the recorder. Only root and the guard's own user may record.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from jetvla.runtime.config import load_config
from jetvla.services.operator import add_config_option
from jetvla.services.termination import asked_to_end


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.mcap", help="what to write")
    parser.add_argument("--seconds", type=float, metavar="N", help="end after N seconds")
    add_config_option(parser)


def run(arguments: argparse.Namespace) -> int:
    from jetvla.services.recording.recorder import record

    tap = load_config(arguments.config).tap
    deadline = time.monotonic() + arguments.seconds if arguments.seconds is not None else float("inf")
    with asked_to_end() as asked:
        recorded = record(tap, arguments.output, lambda: asked.is_set() or time.monotonic() > deadline)
    if recorded.ended:
        print("the guard has ended")
    for topic, count in sorted(recorded.counts.items()):
        print(f"{count:8}  {topic}")
    if recorded.lost:
        print(f"{recorded.lost} calls came too fast for this recorder and are missing")
    if not recorded.armed:
        print("the robot was not armed meanwhile, so there may be nothing to replay")
    print(arguments.output)
    return 0
