"""The metrics as a process: ``python -m jetvla.services.metrics_daemon --config FILE``.

It reads what guard and policy write, and serves it to Prometheus; neither of them notices. SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.address import Address
from jetvla.services.telemetry.collector import DaemonCollector
from jetvla.services.telemetry.machine import open_machine
from jetvla.services.telemetry.server import serving

log = logging.getLogger("jetvla.metrics")

# A guard at 1000 Hz fills its ring in 20 s.
FOLLOW_S = 1.0
# It yields to whoever moves the robot.
_NICE = 10


def main(argv: Sequence[str] | None = None) -> int:
    """0 when asked to end or switched off, 1 on a user's error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="metrics: %(message)s", stream=sys.stderr)
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    try:
        config = load_config(arguments.config)
        if (address := config.telemetry.metrics_address) is None:
            log.info("nothing to do: telemetry.metrics is null")
        else:
            serve(config, address, asked)
    except JetvlaError as error:
        log.error("%s", error)
        return 1
    return 0


def serve(config: Config, address: Address, asked: threading.Event) -> None:
    """Serve metrics until ``asked``."""
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    if not address.loopback:
        log.warning("%s can be reached from other machines, and asks for no password", address)
    with closing(DaemonCollector(config, open_machine())) as collector, serving(collector, address):
        log.info("serving http://%s/metrics", address)
        while not asked.wait(FOLLOW_S):
            collector.follow()


if __name__ == "__main__":
    sys.exit(main())
