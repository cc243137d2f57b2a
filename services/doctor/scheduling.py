"""Is the guard woken in time? Asked for in a thread of its own, which takes what it was given with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.guard.scheduling import Kernel, LinuxKernel, Scheduling, be_timely
from jetvla.runtime.telemetry.status import Status, read_status
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System

GUARD = "jetvla-guard.service"
# The service may write nowhere else.
_STATUS = "/run/jetvla/status.json"
# The kernel's __sched_setscheduler asks for a control group's own limit only while there is one for all of them.
_REFUSED = (
    f"'sudo systemctl restart {GUARD}' if its limit was set since; a kernel with CONFIG_RT_GROUP_SCHED gives real time "
    "to no service until 'sudo sysctl kernel.sched_rt_runtime_us=-1', which also ends its limit for all such programs"
)


def scheduling(system: System) -> Iterator[Finding]:
    """As the service has it, or would by its own limits; in the foreground by those of this account."""
    answer = system.ask(("systemctl", "show", GUARD, "--property=LoadState,MainPID,LimitRTPRIO")) or ""
    state = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    if state.get("LoadState") == "loaded":
        yield _of_service(system, state)
    yield here(LinuxKernel())


def _of_service(system: System, state: Mapping[str, str]) -> Finding:
    limit, what = state.get("LimitRTPRIO", "0"), "scheduling of the service"
    too_low = f"set LimitRTPRIO=99 with 'sudo systemctl edit {GUARD}'"
    status = _running(system, state.get("MainPID", "0"))
    if status is None:
        return Finding(what, limit != "0", f"LimitRTPRIO={limit}", too_low)
    remedy = too_low if limit == "0" else _REFUSED
    return Finding(what, status.rung == "fifo", f"it runs with {status.scheduling}", remedy)


def _running(system: System, pid: str) -> Status | None:
    """What the service itself says, if it runs."""
    try:
        status = read_status(system.path(_STATUS))
    except (JetvlaError, OSError):
        return None
    return status if str(status.pid) == pid and status.fresh(time.monotonic_ns()) else None


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
