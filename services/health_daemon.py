"""The health gate as a process: ``python -m jetvla.services.health_daemon --config FILE``.

It commits the bundle that was installed last after enough seconds in time, and goes back to the one before if that
fails (section ``trial`` of the configuration). It changes the store and restarts guard and policy, so it runs as root.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import CURRENT, Config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.status import Status
from jetvla.services.daemon import run_task
from jetvla.services.service_manager import Notifier
from jetvla.services.store.store import Store
from jetvla.services.store.units import Units, find_units
from jetvla.services.store.watch import HealthWatch, fresh_status
from jetvla.services.termination import EndRequest

log = logging.getLogger("jetvla.health")

LOOK_EVERY_S = 1.0

FindUnits = Callable[[Callable[[], Status | None]], Units]


def main(argv: Sequence[str] | None = None) -> int:
    """0 when asked to end, 1 on a user's error."""
    return run_task("health", __doc__, keep_watch, argv)


def keep_watch(
    config: Config, asked: EndRequest, find: FindUnits = find_units, notifier: Notifier | None = None
) -> None:
    """Look once a second until ``asked``. What refuses is said, and tried again; ``notifier`` is told of the trial."""
    clock, notifier = MonotonicClock(), notifier or Notifier.here()
    if config.bundle != config.store / CURRENT:
        log.info("the bundle is %s and not the store's current one: there is nothing to watch", config.bundle)
        notifier.ready(f"nothing to watch: {config.bundle} is not the store's current bundle")
        asked.wait()
        notifier.stopping()
        return

    def read() -> Status | None:
        return fresh_status(config.status, clock)

    watch = HealthWatch(Store(config.store), config.trusted, find(read), read, config.trial, config.guard.rate_hz)
    told = ""
    notifier.ready(watch.progress)
    while not asked.is_set():
        try:
            watch.look()
            notifier.status(watch.progress)
        except JetvlaError as error:
            notifier.status(f"{error}; trying again")
            if str(error) != told:
                told = str(error)
                log.error("%s; trying again", error)
        asked.wait(LOOK_EVERY_S)
    notifier.stopping()


if __name__ == "__main__":
    sys.exit(main())
