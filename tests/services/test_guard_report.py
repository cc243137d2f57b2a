"""What the guard counts, times and says of itself."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.contracts import Instruction, Verdict
from jetvla.runtime.errors import LinkError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event, EventKind
from jetvla.runtime.guard.rig import GuardRig
from jetvla.runtime.guard.scheduling import Rung, Scheduling
from jetvla.runtime.link.protocol import ChunkMessage, Health, Hello, StageTimes, decode, encode
from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.services.guard_daemon import describe
from jetvla.services.guard_report import GuardReport


def test_only_ticks_that_follow_a_chunk_in_time_count() -> None:
    report = GuardReport(FakeClock(), "ab" * 32)
    report.hello(Hello("ab" * 32, "cd" * 32, True, 0.1))
    for reason in ("policy", "idle", "waiting", "expired", "stale", "workspace", "stopping", "latched", "blocked"):
        report.decided(Verdict(reason, ("x",)), 0)
    report.decided(Verdict("policy", ()), 0)
    status = report.status(State.DISARMED, None)
    assert (status.ticks, status.followed, status.clipped) == (10, 2, 1)


def test_ticks_that_follow_another_bundle_do_not_count() -> None:
    report = GuardReport(FakeClock(), "ab" * 32)
    assert report.status(State.BOOT, None).policy_bundle == ""
    for bundle, followed in (("ef" * 32, 0), ("ab" * 32, 1), ("ef" * 32, 1)):
        report.hello(Hello(bundle, "cd" * 32, True, 0.1))
        report.decided(Verdict("policy", ()), 0)
        status = report.status(State.DISARMED, None)
        assert (status.policy_bundle, status.followed) == (bundle, followed)


def test_every_policy_that_connects_says_how_its_golden_samples_did() -> None:
    report = GuardReport(FakeClock(), "ab" * 32)
    before = report.status(State.BOOT, None)
    assert (before.golden, before.engine_key, before.connections) == (None, None, 0)
    report.hello(Hello("ab" * 32, "cd" * 32, True, 0.1))
    report.hello(Hello("ab" * 32, "ef" * 32, False, 9.0))
    status = report.status(State.DISARMED, None)
    assert (status.golden, status.engine_key, status.connections) == (False, "ef" * 32, 2)
    assert status.policy == "connected"
    assert any("golden self-test FAILED, error 9" in event for event in status.events)


class Kept:
    def __init__(self) -> None:
        self.spans: list[tuple[str, int, int, int]] = []

    def add(self, stage: str, begin_ns: int, duration_ns: int, frame_ns: int = 0) -> None:
        self.spans.append((stage, begin_ns, duration_ns, frame_ns))


@pytest.mark.parametrize(("sent_ns", "begin_ns", "duration_ns"), [(600, 600, 400), (1500, 1000, 0)])
def test_a_chunk_is_sent_before_it_is_taken_in_whatever_the_policy_noted(
    sent_ns: int, begin_ns: int, duration_ns: int
) -> None:
    report = GuardReport(FakeClock(1000), "")
    report.spans = kept = Kept()
    report.chunk(ChunkMessage(np.zeros((1, 2), np.float32), 100, 1, 1, 0))
    report.health(Health(sent_ns, StageTimes(), ()))
    assert kept.spans == [("link", begin_ns, duration_ns, 100)]


def test_the_age_is_of_the_frame_that_a_command_follows_and_of_no_other() -> None:
    """A chunk that is rejected, or obeys another sentence, is taken in and moves nothing."""
    rig = GuardRig()
    report = GuardReport(rig.clock, "")
    report.spans = kept = Kept()
    rig.arm()

    def tick(**chunk: Any) -> None:
        rig.health()
        if chunk:
            report.chunk(ChunkMessage(np.zeros((1, 6), np.float32), rig.clock.now_ns(), 1, 1, 0))
            rig.chunk(**chunk)
        report.published(rig.step(), rig.clock.now_ns())

    tick(action=[0.1] * 6, age_s=0.05)
    tick(action=[np.nan] * 6, age_s=0.02)
    tick()
    rig.instruction, said = Instruction.of("another sentence", 0), rig.instruction
    tick(action=[0.1] * 6, age_s=0.02)
    rig.instruction = said
    tick(action=[0.1] * 6, age_s=0.03)
    ages = [(frame_ns, duration_ns) for stage, _, duration_ns, frame_ns in kept.spans if stage == "age"]
    assert [duration_ns for _, duration_ns in ages] == [60_000_000, 40_000_000]
    assert ages[1][0] - ages[0][0] == 60_000_000


i64 = st.integers(-(2**63), 2**63 - 1)


@settings(deadline=None)
@given(i64, i64, st.lists(i64, min_size=5, max_size=5))
@example(-(2**63), -(2**63), [-(2**63)] * 5)
@example(2**63 - 1, 2**63 - 1, [2**63 - 1] * 5)
def test_no_time_that_a_policy_can_send_breaks_the_report(t0_ns: int, sent_ns: int, stages: list[int]) -> None:
    chunk = encode(ChunkMessage(np.zeros((1, 6), np.float32), t0_ns, 1, 1, 0), 0)
    health = encode(Health(sent_ns, StageTimes(*stages), ()), 0)
    with tempfile.TemporaryDirectory() as folder, closing(SpanRing(Path(folder) / "spans", 0)) as ring:
        report = GuardReport(FakeClock(10**13), "")
        report.spans = ring
        for packet in (chunk, health):
            try:
                message, _ = decode(packet)
            except LinkError:
                continue
            if isinstance(message, ChunkMessage):
                report.chunk(message)
            elif isinstance(message, Health):
                report.health(message)
        report.status(State.DISARMED, None)


def event(kind: EventKind, fault: str = "") -> Event:
    return Event(0, kind, "why", State.DISARMED, fault)


def test_a_fault_counts_once_when_it_begins_and_not_again_when_it_is_over() -> None:
    report = GuardReport(FakeClock(), "0" * 64)
    report.events([event("fault", "no_camera"), event("clip"), event("clip")])
    report.events([event("cleared", "no_camera"), event("refusal"), event("reject")])
    counts = report.status(State.DISARMED, None).counts
    assert counts == {"no_camera": 1, "clip": 2, "cleared": 1, "refusal": 1, "reject": 1}


def test_of_a_fault_of_every_tick_the_first_and_the_last_are_told_and_all_are_counted() -> None:
    clock = FakeClock()
    report = GuardReport(clock, "0" * 64)
    for number in range(60):
        report.events([Event(0, "fault", f"{number}", State.LATCHED, "stall"), event("cleared", "stall")])
        clock.advance(0.01)
    clock.advance(1.0)
    report.events([])
    report.events([event("fault", "stall")])
    status = report.status(State.LATCHED, None)
    assert status.counts == {"stall": 61, "cleared": 60}
    assert status.events == [
        "LATCHED fault stall: 0",
        "DISARMED cleared stall: why",
        "LATCHED fault stall: 1",
        "DISARMED cleared stall: why",
        "DISARMED cleared stall: why (the last of 116 in 1.6 s)",
        "DISARMED fault stall: why",
    ]


def test_every_change_of_state_is_told() -> None:
    report = GuardReport(FakeClock(), "0" * 64)
    for number in range(3):
        report.events([Event(0, "state", f"reason {number}", State.DISARMED)])
    assert len(report.status(State.DISARMED, None).events) == 3


def test_a_report_has_the_rung_for_programs_beside_the_words_for_people() -> None:
    report = GuardReport(FakeClock(), "0" * 64)
    assert report.status(State.BOOT, None).rung == "plain"
    for rung in get_args(Rung):
        scheduling = Scheduling(rung, 50, 100_000, 1, "")
        report.scheduling, report.rung = describe(scheduling), scheduling.rung
        status = report.status(State.BOOT, None)
        assert status.rung == rung
        assert status.scheduling == describe(scheduling)


def test_a_stop_is_counted_once_whatever_is_found_while_the_robot_stops() -> None:
    report = GuardReport(FakeClock(), "")
    stop = Event(0, "state", "stall", State.STOPPING)
    faults = [Event(0, "fault", "late", State.STOPPING, "stall") for _ in range(3)]
    for events in ([stop, *faults], [Event(0, "state", "at rest", State.DISARMED)], [stop]):
        report.events(events)
    counts = report.status(State.STOPPING, None).counts
    assert (counts["stops"], counts["stall"]) == (2, 3)
