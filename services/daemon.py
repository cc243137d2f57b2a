"""What both daemons have in common: command line, log, signals, service manager, and how a user's error ends them."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.services.journal import BUNDLE, logging_for
from jetvla.services.reload import Reloader
from jetvla.services.service_manager import Notifier


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
    asked: threading.Event
    notifier: Notifier
    reloader: Reloader


Work = Callable[[Service], None]


def run_daemon(name: str, purpose: str | None, work: Work, argv: Sequence[str] | None = None) -> int:
    """Check the configuration that ``--config`` names, verify its bundle, and ``work`` on both.

    Args:
        name: stands before every line of the log.
        purpose: for ``--help``.
        work: returns soon after its event is set, which SIGTERM and SIGINT do.

    Returns:
        The exit status: 0 when asked to end, 1 on a user's error.
    """
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    faulthandler.enable()
    with logging_for(name) as fields:
        notifier, asked = Notifier.here(), threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked.set())
        try:
            work(_opened(arguments.config, asked, notifier, fields))
        except JetvlaError as error:
            logging.getLogger(f"jetvla.{name}").error("%s", error)
            return 1
    return 0


def _opened(path: Path, asked: threading.Event, notifier: Notifier, fields: dict[str, str]) -> Service:
    config = load_config(path)
    reloader = Reloader(path, config, notifier.reloading, notifier.reloaded)
    bundle = Bundle.open(config.bundle, load_trusted(config.trusted))
    fields[BUNDLE] = bundle.digest
    return Service(config, bundle, asked, notifier, reloader)


def keep_for_good() -> None:
    """What is in memory now stays: no collection will go through it, which would take longer than a guard's tick."""
    gc.collect()
    gc.freeze()
