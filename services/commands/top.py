"""Watch the running robot: state, rates, ages, stage times of the last seconds, faults, memory, heat and power.

It reads what the daemons write, and costs them nothing. Ctrl-C ends it; the daemons may come and go meanwhile.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.services.operator import add_config_option

if TYPE_CHECKING:
    from jetvla.services.telemetry.snapshot import Watcher

_FASTEST_S, _SLOWEST_S = 0.1, 3600.0


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    parser.add_argument("--once", action="store_true", help="print one page and end; status 1 if no guard runs")
    parser.add_argument(
        "--interval", type=_interval, default=1.0, metavar="S", help="seconds between looks (default: %(default)s)"
    )


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not _FASTEST_S <= seconds <= _SLOWEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not between {_FASTEST_S:g} and {_SLOWEST_S:g} seconds")
    return seconds


def run(arguments: argparse.Namespace) -> int:
    from jetvla.runtime.telemetry.power import open_power_source
    from jetvla.services.telemetry.snapshot import Watcher

    config = load_config(arguments.config)
    if not (arguments.once or sys.stdout.isatty()):
        raise JetvlaError("the screen needs a terminal; --once prints one page anywhere")
    with closing(Watcher(config, open_power_source())) as watcher:
        return _print_once(watcher) if arguments.once else _watch(watcher, arguments.interval)


def _print_once(watcher: Watcher) -> int:
    from rich.console import Console

    from jetvla.services.telemetry.screen import page

    seen = watcher.look()
    Console().print(page(seen))
    return 0 if seen.up else 1


def _watch(watcher: Watcher, interval_s: float) -> int:
    from rich.live import Live

    from jetvla.services.telemetry.screen import page
    from jetvla.services.termination import ends_cleanly

    with ends_cleanly(), Live(page(watcher.look()), screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval_s)
                live.update(page(watcher.look()), refresh=True)
        except KeyboardInterrupt:
            return 0
