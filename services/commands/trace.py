"""Write what the running daemons do when into a file that https://ui.perfetto.dev opens.

  jetvla trace -o run.json.gz                for 10 s, or until Ctrl-C
  jetvla trace -o run.json.gz --seconds 60
  jetvla trace -o last.json.gz --last        what they did last, also after they have ended

A track for each stage of policy and guard, arrows that follow every frame from its capture to the command, counters of
wake lateness and frame age, and what the audit log holds of state and faults. It costs the daemons nothing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import ConfigError
from jetvla.services.operator import add_config_option
from jetvla.services.termination import asked_to_end, ends_cleanly

if TYPE_CHECKING:
    from jetvla.services.trace.tracing import Traced


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("trace.json.gz"), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--seconds", type=float, default=10.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--last", action="store_true", help="what the daemons did last, without waiting")
    add_config_option(parser)


def run(arguments: argparse.Namespace) -> int:
    from jetvla.services.trace.tracing import trace, trace_last

    if not 0 < arguments.seconds < float("inf"):
        raise ConfigError(f"--seconds {arguments.seconds:g} must be above 0 and finite")
    config = load_config(arguments.config)
    with ends_cleanly():
        if arguments.last:
            traced = trace_last(config, arguments.output)
        else:
            deadline = time.monotonic() + arguments.seconds
            with asked_to_end() as asked:
                traced = trace(config, arguments.output, lambda: asked.is_set() or time.monotonic() > deadline)
    _print(traced)
    print(f"{arguments.output}: {traced.seconds:.1f} s; open it in https://ui.perfetto.dev")
    return 0


def _print(traced: Traced) -> None:
    for process, spans in traced.spans.items():
        lost = f", {count} older ones overwritten before they were read" if (count := traced.lost[process]) else ""
        print(f"{process.name} {process.pid}: {spans} spans{lost}")
    names = [process.name for process in traced.spans]
    for name in sorted({name for name in names if names.count(name) > 1}):
        print(f"the {name} was started anew; the last that the former one ran may be missing")
    print(f"{traced.captured} frames, a command obeyed {traced.commanded} of them; audit: {traced.audit}")
