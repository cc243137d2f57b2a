"""Whether the guard is woken in time: as it runs, as it would, and as this account would."""

from __future__ import annotations

import time
from dataclasses import replace

from jetvla.runtime.telemetry.status import Status, write_status
from jetvla.services.doctor import scheduling
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System


class Kernel:
    """Gives FIFO, or not."""

    def __init__(self, gives: bool) -> None:
        self._gives, self._priority = gives, 0

    def set_fifo(self, priority: int) -> None:
        if not self._gives:
            raise PermissionError(1, "Operation not permitted")
        self._priority = priority

    def fifo_priority(self) -> int:
        return self._priority

    def set_slice_ns(self, ns: int) -> None: ...

    def slice_ns(self) -> int:
        return 0

    def set_slack_ns(self, ns: int) -> None: ...

    def slack_ns(self) -> int:
        return 50_000


def test_whether_fifo_is_permitted_is_tried() -> None:
    assert scheduling.here(Kernel(gives=True)).ready
    refused = scheduling.here(Kernel(gives=False))
    assert not refused.ready
    assert "SCHED_FIFO: Operation not permitted" in refused.detail


def test_a_service_without_a_right_to_fifo_is_a_fault(system: System, answers: object) -> None:
    known = answers.known  # type: ignore[attr-defined]
    known["systemctl show jetvla-guard"] = "LoadState=loaded\nLimitRTPRIO=0\n"
    first = next(iter(scheduling.scheduling(system)))
    assert (first.ready, first.needed, first.detail) == (False, True, "LimitRTPRIO=0")
    known["systemctl show jetvla-guard"] = "LoadState=loaded\nLimitRTPRIO=99\n"
    assert next(iter(scheduling.scheduling(system))).ready


STATUS = Status(1, 1234, "DISARMED", "", "ab", None, "", "SCHED_FIFO priority 50", 1, 0, {}, {}, [], rung="fifo")


def reported(system: System, answers: object, status: Status, **unit: str) -> Finding:
    """What is said of the service while it reports ``status``."""
    shown = {"LoadState": "loaded", "MainPID": "1234", "LimitRTPRIO": "50", **unit}
    lines = "".join(f"{name}={value}\n" for name, value in shown.items())
    answers.known["systemctl show jetvla-guard"] = lines  # type: ignore[attr-defined]
    folder = system.path("/run/jetvla")
    folder.mkdir(parents=True, exist_ok=True)
    write_status(status, folder / "status.json")
    return next(iter(scheduling.scheduling(system)))


def test_a_guard_that_runs_is_judged_by_what_it_got(system: System, answers: object) -> None:
    now = replace(STATUS, written_ns=time.monotonic_ns())
    got = reported(system, answers, now)
    assert (got.ready, got.needed, got.detail) == (True, True, "it runs with SCHED_FIFO priority 50")
    denied = replace(now, scheduling="plain (SCHED_FIFO: Operation not permitted)", rung="plain")
    refused = reported(system, answers, denied)
    assert (refused.ready, refused.needed) == (False, True)
    assert refused.detail == "it runs with plain (SCHED_FIFO: Operation not permitted)"
    assert "CONFIG_RT_GROUP_SCHED" in refused.remedy
    assert "LimitRTPRIO=99" in reported(system, answers, denied, LimitRTPRIO="0").remedy


def test_a_report_of_another_guard_is_not_the_services(system: System, answers: object) -> None:
    plain = replace(STATUS, written_ns=time.monotonic_ns(), rung="plain")
    assert reported(system, answers, plain, MainPID="0").detail == "LimitRTPRIO=50"
    assert reported(system, answers, replace(plain, pid=1)).detail == "LimitRTPRIO=50"
    old = replace(plain, written_ns=plain.written_ns - 60 * 10**9)
    assert reported(system, answers, old).detail == "LimitRTPRIO=50"
    system.path("/run/jetvla/status.json").write_text("{}")
    assert next(iter(scheduling.scheduling(system))).detail == "LimitRTPRIO=50"
