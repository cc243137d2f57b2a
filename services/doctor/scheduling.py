"""Is the guard woken in time? Asked for in a thread of its own, which takes what it was given with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from jetvla.runtime.guard.scheduling import Kernel, LinuxKernel, Scheduling, be_timely
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System

GUARD = "jetvla-guard.service"


def scheduling(system: System) -> Iterator[Finding]:
    """As a service has it by its own limits; in the foreground by those of this account."""
    answer = system.ask(("systemctl", "show", GUARD, "--property=LoadState,LimitRTPRIO")) or ""
    state = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    if state.get("LoadState") == "loaded":
        limit = state.get("LimitRTPRIO", "0")
        yield Finding(
            "scheduling of the service",
            limit != "0",
            f"LimitRTPRIO={limit}",
            f"set LimitRTPRIO=99 with 'sudo systemctl edit {GUARD}'",
        )
    yield here(LinuxKernel())


def here(kernel: Kernel) -> Finding:
    """What a guard in the foreground would get."""
    given: list[Scheduling] = []
    thread = threading.Thread(target=lambda: given.append(be_timely(kernel)))
    thread.start()
    thread.join()
    (got,) = given
    names = {"fifo": f"SCHED_FIFO priority {got.priority}", "slice": "a short time slice", "plain": "as any program"}
    return Finding(
        "scheduling of this account",
        got.rung == "fifo",
        names[got.rung] + (f" ({got.refused})" if got.refused else ""),
        "add 'USER - rtprio 99' to /etc/security/limits.conf, or run the guard as the service",
        needed=False,
    )
