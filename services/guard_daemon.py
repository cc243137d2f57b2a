"""The guard as a process: ``python -m jetvla.services.guard_daemon --config FILE``.

SIGTERM and SIGINT bring the robot to a controlled stop before the process ends.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.residence import LinuxHost, settle
from jetvla.runtime.guard.scheduling import SERVANTS_PRIORITY, LinuxKernel, Scheduling, be_timely
from jetvla.services.daemon import Service, keep_for_good, run_daemon
from jetvla.services.guard_process import GuardProcess
from jetvla.services.instance import single_instance

log = logging.getLogger("jetvla.guard")

SWITCH_S = 1e-4


def main(argv: Sequence[str] | None = None) -> int:
    """0 after a controlled stop, 1 on a user's error."""
    return run_daemon("guard", __doc__, guard_robot, argv, serve_in_time, reads=False)


def serve_in_time() -> None:
    """For every thread that the guard starts, those of ROS 2, the log and other writers among them: one that is put off
    by another program while it holds the interpreter lock holds up the tick."""
    be_timely(LinuxKernel(), SERVANTS_PRIORITY)


def guard_robot(service: Service, operator: Callable[[GuardProcess], None] = lambda _: None) -> None:
    """Run the guard until ``service.asked``, and then until the robot is at rest.

    Args:
        operator: called once a tick, in the thread that decides.
    """

    def over() -> bool:
        operator(process)
        return service.asked.is_set()

    run_dir = service.config.run_dir
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"run_dir {run_dir} cannot be made: {error.strerror}; name another in the configuration"
        ) from error
    # The tick takes the interpreter back from ROS 2's and the writers' threads this soon; 5 ms by default.
    sys.setswitchinterval(SWITCH_S)
    with (
        single_instance(service.config, "guard"),
        GuardProcess(service.config, service.bundle, service.notifier, service.reloader.take) as process,
    ):
        scheduling = be_timely(LinuxKernel())
        process.report.scheduling, process.report.rung = describe(scheduling), scheduling.rung
        log.info("scheduling: %s", process.report.scheduling)
        for doubt in service.config.guard.limits.doubts():
            log.warning("%s", doubt)
        keep_for_good()
        residence = settle(LinuxHost())
        place = "any CPU" if residence.cpu is None else f"CPU {residence.cpu}"
        log.info("memory %slocked, %s %s", "" if residence.locked else "not ", place, residence.refused)
        process.run(over)


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
