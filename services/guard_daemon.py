"""The guard as a process: ``python -m jetvla.services.guard_daemon --config FILE``.

SIGTERM and SIGINT bring the robot to a controlled stop before the process ends.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.guard.scheduling import LinuxKernel, Scheduling, be_timely
from jetvla.runtime.keys import load_trusted
from jetvla.services.guard_process import GuardProcess

log = logging.getLogger("jetvla.guard")


def main(argv: Sequence[str] | None = None) -> int:
    """0 after a controlled stop, 1 on a user's error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="guard: %(message)s", stream=sys.stderr)
    faulthandler.enable()
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: asked.append(n))
    try:
        guard_robot(arguments.config, asked)
    except JetvlaError as error:
        log.error("%s", error)
        return 1
    return 0


def guard_robot(config_path: Path, asked: list[int]) -> None:
    """Run the guard until ``asked`` holds a signal."""
    config = load_config(config_path)
    bundle = Bundle.open(config.bundle, load_trusted(config.trusted))
    config.run_dir.mkdir(parents=True, exist_ok=True)
    with GuardProcess(config, bundle) as process:
        # After the threads of ROS 2 have started, which would inherit it.
        process.report.scheduling = describe(be_timely(LinuxKernel()))
        log.info("scheduling: %s", process.report.scheduling)
        # A collection of a grown heap would take longer than a tick.
        gc.collect()
        gc.freeze()
        process.run(lambda: bool(asked))


def describe(scheduling: Scheduling) -> str:
    """What holds, and what the kernel would not give."""
    rungs = {
        "fifo": f"SCHED_FIFO priority {scheduling.priority}",
        "slice": f"time slice {scheduling.slice_ns} ns, timer slack {scheduling.slack_ns} ns",
        "plain": f"plain, timer slack {scheduling.slack_ns} ns",
    }
    return rungs[scheduling.rung] + (f" ({scheduling.refused})" if scheduling.refused else "")


if __name__ == "__main__":
    sys.exit(main())
