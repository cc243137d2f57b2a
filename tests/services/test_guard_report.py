"""What the guard counts for those who judge a bundle."""

from __future__ import annotations

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.contracts import Verdict
from jetvla.runtime.guard.arming import State
from jetvla.runtime.link.protocol import Hello
from jetvla.services.guard_report import GuardReport


def test_only_ticks_that_follow_a_chunk_in_time_count() -> None:
    report = GuardReport(FakeClock(), "ab" * 32)
    for reason in ("policy", "idle", "waiting", "expired", "stale", "workspace", "stopping", "latched", "blocked"):
        report.decided(Verdict(reason, ("x",)), 0)
    report.decided(Verdict("policy", ()), 0)
    status = report.status(State.DISARMED, None)
    assert (status.ticks, status.followed, status.clipped) == (10, 2, 1)


def test_every_policy_that_connects_says_how_its_golden_samples_did() -> None:
    report = GuardReport(FakeClock(), "ab" * 32)
    before = report.status(State.BOOT, None)
    assert (before.golden, before.connections) == (None, 0)
    report.hello(Hello("ab" * 32, "cd" * 32, True, 0.1))
    report.hello(Hello("ab" * 32, "cd" * 32, False, 9.0))
    status = report.status(State.DISARMED, None)
    assert (status.golden, status.connections, status.policy) == (False, 2, "connected")
    assert any("golden self-test FAILED, error 9" in event for event in status.events)
