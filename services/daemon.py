"""What the daemons have in common: command line, log, signals, and how a user's error ends them."""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.services.store.hold import held

Work = Callable[[Config, Bundle, threading.Event], None]
Task = Callable[[Config, threading.Event], None]


def run_daemon(name: str, purpose: str | None, work: Work, argv: Sequence[str] | None = None) -> int:
    """Check the configuration that ``--config`` names, verify its bundle, and ``work`` on both.

    Args:
        name: stands before every line of the log.
        purpose: for ``--help``.
        work: returns soon after its event is set, which SIGTERM and SIGINT do.

    Returns:
        The exit status: 0 when asked to end, 1 on a user's error.
    """

    def run(config: Config, asked: threading.Event) -> None:
        # A link of the store may point elsewhere soon; the bundle that it points to now stays as long as it is held.
        folder = config.bundle.resolve()
        with held(folder):
            work(config, Bundle.open(folder, load_trusted(config.trusted)), asked)

    return run_task(name, purpose, run, argv)


def run_task(name: str, purpose: str | None, task: Task, argv: Sequence[str] | None = None) -> int:
    """As :func:`run_daemon`, for a daemon that opens no bundle."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format=f"{name}: %(message)s", stream=sys.stderr)
    faulthandler.enable()
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    try:
        task(load_config(arguments.config), asked)
    except JetvlaError as error:
        logging.getLogger(f"jetvla.{name}").error("%s", error)
        return 1
    return 0


def keep_for_good() -> None:
    """What is in memory now stays: no collection will go through it, which would take longer than a guard's tick.

    What was freed on the way here, such as an engine's weights before they were repacked, goes back to the system.
    """
    gc.collect()
    gc.freeze()
    # Only glibc keeps it, and only glibc has the call.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
