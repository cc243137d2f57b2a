"""What the daemons have in common: command line, log, signals, service manager, and how a user's error ends them."""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.services.journal import BUNDLE, DaemonLog
from jetvla.services.reload import Reloader
from jetvla.services.service_manager import Notifier
from jetvla.services.store.hold import held
from jetvla.services.termination import ASKS, EndRequest


@dataclass(frozen=True, slots=True)
class Service:
    """What a daemon works with.

    Attributes:
        config, bundle: checked.
        asked: set by SIGTERM and SIGINT; the daemon is to end soon after.
        notifier: whom to tell that it is ready, and that it goes on.
        reloader: gives the configuration anew after SIGHUP.
    """

    config: Config
    bundle: Bundle
    asked: EndRequest
    notifier: Notifier
    reloader: Reloader


Work = Callable[[Service], None]
Task = Callable[[Config, EndRequest], None]


def run_daemon(
    name: str,
    purpose: str | None,
    work: Work,
    argv: Sequence[str] | None = None,
    schedule: Callable[[], object] = lambda: None,
    reads: bool = True,
) -> int:
    """Check the configuration that ``--config`` names, verify its bundle, and ``work`` on both.

    Args:
        name: stands before every line of the log.
        purpose: for ``--help``.
        work: returns soon after its event is set, which SIGTERM and SIGINT do.
        schedule: called before any thread starts, since threads inherit what it asks the kernel for.
        reads: whether it reads more of the bundle than the manifest; else only that is verified.

    Returns:
        The exit status: 0 when asked to end, 1 on a user's error.
    """

    def run(path: Path, asked: EndRequest, fields: dict[str, str]) -> None:
        notifier, config = Notifier.here(), load_config(path)
        reloader = Reloader(path, config, notifier.reloading, notifier.reloaded)
        # A link of the store may point elsewhere soon; the bundle that it points to now stays as long as it is held.
        folder = config.bundle.resolve()
        with held(folder):
            with asked.at_once():
                bundle = Bundle.open(folder, load_trusted(config.trusted), reads)
            fields[BUNDLE] = bundle.digest
            work(Service(config, bundle, asked, notifier, reloader))

    return _run(name, purpose, run, argv, schedule)


def run_task(name: str, purpose: str | None, task: Task, argv: Sequence[str] | None = None) -> int:
    """As :func:`run_daemon`, for a daemon that opens no bundle."""
    return _run(name, purpose, lambda path, asked, _: task(load_config(path), asked), argv)


def _run(
    name: str,
    purpose: str | None,
    run: Callable[[Path, EndRequest, dict[str, str]], None],
    argv: Sequence[str] | None,
    schedule: Callable[[], object] = lambda: None,
) -> int:
    parser = argparse.ArgumentParser(description=purpose, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    faulthandler.enable()
    schedule()
    with DaemonLog(name) as log:
        asked = EndRequest()
        for number in ASKS:
            signal.signal(number, asked.ask)
        try:
            run(arguments.config, asked, log.fields)
        except JetvlaError as error:
            logging.getLogger(f"jetvla.{name}").error("%s", error)
            log.status = 1
    return log.status


def keep_for_good() -> None:
    """What is in memory now stays: no collection will go through it, which would take longer than a guard's tick.

    What was freed on the way here, such as an engine's weights before they were repacked, goes back to the system.
    """
    gc.collect()
    gc.freeze()
    # Only glibc keeps it, and only glibc has the call.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
