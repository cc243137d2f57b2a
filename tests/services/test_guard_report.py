"""What the guard counts and says of itself."""

from __future__ import annotations

from typing import get_args

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event, EventKind
from jetvla.runtime.guard.scheduling import Rung, Scheduling
from jetvla.services.guard_daemon import describe
from jetvla.services.guard_report import GuardReport


def event(kind: EventKind, fault: str = "") -> Event:
    return Event(0, kind, "why", State.DISARMED, fault)


def test_a_fault_counts_once_when_it_begins_and_not_again_when_it_is_over() -> None:
    report = GuardReport(FakeClock(), "0" * 64)
    report.events([event("fault", "no_camera"), event("clip"), event("clip")])
    report.events([event("cleared", "no_camera"), event("refusal"), event("reject")])
    counts = report.status(State.DISARMED, None).counts
    assert counts == {"no_camera": 1, "clip": 2, "cleared": 1, "refusal": 1, "reject": 1}


def test_a_report_has_the_rung_for_programs_beside_the_words_for_people() -> None:
    report = GuardReport(FakeClock(), "0" * 64)
    assert report.status(State.BOOT, None).rung == "plain"
    for rung in get_args(Rung):
        scheduling = Scheduling(rung, 50, 100_000, 1, "")
        report.scheduling, report.rung = describe(scheduling), scheduling.rung
        status = report.status(State.BOOT, None)
        assert status.rung == rung
        assert status.scheduling == describe(scheduling)
