"""The metrics as a process: ``python -m jetvla.services.metrics_daemon --config FILE``.

It reads what guard and policy write, and serves it to Prometheus; neither of them notices. SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing

from jetvla.runtime.config import Config
from jetvla.runtime.telemetry.address import Address
from jetvla.runtime.telemetry.power import open_power_source
from jetvla.services.daemon import run_task
from jetvla.services.telemetry.collector import DaemonCollector
from jetvla.services.telemetry.server import serving
from jetvla.services.termination import EndRequest

log = logging.getLogger("jetvla.metrics")

# A guard at 1000 Hz fills its ring in 20 s.
FOLLOW_S = 1.0
# It yields to whoever moves the robot.
_NICE = 10


def main(argv: Sequence[str] | None = None) -> int:
    """0 when asked to end or switched off, 1 on a user's error."""
    return run_task("metrics", __doc__, serve_if_wanted, argv)


def serve_if_wanted(config: Config, asked: EndRequest) -> None:
    """Serve metrics until ``asked``, unless they are switched off."""
    if (address := config.telemetry.metrics_address) is None:
        log.info("nothing to do: telemetry.metrics is null")
    else:
        serve(config, address, asked)


def serve(config: Config, address: Address, asked: EndRequest) -> None:
    """Serve metrics until ``asked``."""
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    if not address.loopback:
        log.warning("%s can be reached from other machines, and asks for no password", address)
    with (
        closing(DaemonCollector(config, open_power_source(interval_s=FOLLOW_S))) as collector,
        serving(collector, address),
    ):
        log.info("serving http://%s/metrics", address)
        while not asked.wait(FOLLOW_S):
            collector.follow()


if __name__ == "__main__":
    sys.exit(main())
