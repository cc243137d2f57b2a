"""The gate's decision, over reports that a guard could give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetvla.runtime.config import TrialConfig
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.faults import FAULTS
from jetvla.runtime.telemetry.status import Status
from jetvla.services.store.health import Decision, HealthGate

NEW, OLD = "ab" * 32, "cd" * 32
LIMITS = TrialConfig(seconds=10.0, missed=2, clipped=0.1, restarts=1)
RATE_HZ = 100.0
NEEDED = 1000
GOOD = Status(0, 7, "DISARMED", "", NEW, None, "", "", 0, 0, {}, {}, [], golden=True, connections=1, policy_bundle=NEW)


def gate() -> HealthGate:
    return HealthGate(NEW, LIMITS, RATE_HZ)


def test_enough_ticks_in_time_commit() -> None:
    judge = gate()
    assert judge.look(replace(GOOD, followed=NEEDED - 1), 0) is Decision.WAIT
    assert judge.seconds == pytest.approx(9.99)
    assert judge.look(replace(GOOD, followed=NEEDED), 0) is Decision.COMMIT


@pytest.mark.parametrize("state", ["DISARMED", "ARMED", "STOPPING"])
def test_shadow_and_armed_ticks_count_alike(state: str) -> None:
    assert gate().look(replace(GOOD, state=state, followed=NEEDED), 0) is Decision.COMMIT


def test_the_clock_stands_still_while_nothing_follows() -> None:
    """An engine is built, a camera is away, nobody says anything: neither commits nor condemns, however long."""
    judge = gate()
    for ticks in range(0, 10**8, 10**6):
        for status in (None, replace(GOOD, ticks=ticks, followed=3), replace(GOOD, golden=None, bundle=OLD)):
            assert judge.look(status, 0) is Decision.WAIT
    assert judge.seconds == pytest.approx(0.03)


def test_what_another_bundle_does_does_not_count() -> None:
    judge = gate()
    bad = replace(
        GOOD,
        bundle=OLD,
        policy_bundle=OLD,
        followed=10**6,
        clipped=10**6,
        golden=False,
        counts={"excess": 9, "stale_chunk": 99},
    )
    assert judge.look(bad, 0) is Decision.WAIT
    assert (judge.seconds, judge.failure) == (0, "")


def test_what_the_former_bundles_policy_does_on_the_new_bundles_guard_does_not_count() -> None:
    judge = gate()
    assert judge.look(replace(GOOD, followed=400, clipped=1), 0) is Decision.WAIT
    bad = {"excess": 9, "stale_chunk": 99}
    apart = replace(GOOD, policy_bundle=OLD, followed=10**6, clipped=10**6, golden=False, counts=bad)
    assert judge.look(apart, 0) is Decision.WAIT
    assert judge.failure == ""
    assert judge.look(replace(apart, golden=True, policy_bundle=NEW, followed=10**6 + 599), 0) is Decision.WAIT
    assert (judge.tally.followed, judge.tally.clipped, judge.tally.missed) == (999, 1, 0)
    assert judge.look(replace(apart, golden=True, policy_bundle=NEW, followed=10**6 + 600), 0) is Decision.COMMIT


def test_a_fault_of_the_bundle_after_one_of_the_former_counts() -> None:
    judge = gate()
    judge.look(replace(GOOD, policy_bundle=OLD, counts={"excess": 1}), 0)
    assert judge.look(replace(GOOD, counts={"excess": 2}), 0) is Decision.ROLL_BACK


def test_restarts_before_the_bundle_is_taken_up_are_not_its_own() -> None:
    judge = gate()
    for restarts in range(9):
        assert judge.look(replace(GOOD, bundle=OLD, policy_bundle=OLD, state="LATCHED"), restarts) is Decision.WAIT
    for restarts in (9, 10):
        assert judge.look(replace(GOOD, policy_bundle=OLD), restarts) is Decision.WAIT
    for restarts, decision in ((11, Decision.WAIT), (12, Decision.WAIT), (13, Decision.ROLL_BACK)):
        assert judge.look(replace(GOOD, policy_bundle=""), restarts) is decision
    assert judge.restarts == 2


def test_a_guard_that_was_started_again_goes_on_counting() -> None:
    judge = gate()
    judge.look(replace(GOOD, followed=600, clipped=60, counts={"stale_chunk": 1}), 0)
    assert judge.look(replace(GOOD, pid=8, followed=300, clipped=30, counts={"late_chunks": 1}), 0) is Decision.WAIT
    assert (judge.tally.followed, judge.tally.clipped, judge.tally.missed) == (900, 90, 2)
    assert judge.look(replace(GOOD, pid=9, followed=100), 0) is Decision.COMMIT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"golden": False}, "golden self-test failed"),
        ({"counts": {"stale_chunk": 3}}, "3 missed deadlines, and 2 are allowed"),
        ({"counts": {"late_chunks": 2, "stale_chunk": 1}}, "3 missed deadlines"),
        ({"clipped": 101}, "clipped in 101 ticks, and 100 are allowed"),
        ({"counts": {"bad_chunk": 1}}, "the guard found bad_chunk"),
        ({"counts": {"excess": 1, "travel": 2}}, "the guard found excess, travel"),
        ({"counts": {"violation": 1}}, "the guard found violation"),
    ],
)
@pytest.mark.parametrize("state", list(State))
def test_each_failure_rolls_back_but_never_a_robot_that_moves(
    change: dict[str, object], reason: str, state: State
) -> None:
    judge = gate()
    bad = replace(GOOD, state=state.value, followed=NEEDED, **change)  # type: ignore[arg-type]
    moving = state in (State.ARMED, State.STOPPING)
    assert judge.look(bad, 0) is (Decision.WAIT if moving else Decision.ROLL_BACK)
    assert reason in judge.failure
    assert judge.look(replace(bad, state="DISARMED"), 0) is Decision.ROLL_BACK


@pytest.mark.parametrize(
    "change",
    [{"golden": None}, {"counts": {"stale_chunk": 2}}, {"clipped": 100}, {"counts": {"clip": 10**6, "state": 10**6}}],
)
def test_at_the_limit_it_is_kept(change: dict[str, object]) -> None:
    status = replace(GOOD, followed=NEEDED, **change)  # type: ignore[arg-type]
    assert gate().look(status, 0) is Decision.COMMIT


def test_more_ticks_than_were_needed_may_be_clipped_in_the_same_share() -> None:
    assert gate().look(replace(GOOD, followed=2 * NEEDED, clipped=200), 0) is Decision.COMMIT
    assert gate().look(replace(GOOD, followed=2 * NEEDED, clipped=201), 0) is Decision.ROLL_BACK


def test_a_crash_loop_rolls_back_even_if_no_guard_reports() -> None:
    judge = gate()
    assert [judge.look(None, restarts) for restarts in (40, 41)] == [Decision.WAIT] * 2
    assert judge.look(None, 42) is Decision.ROLL_BACK
    assert judge.failure == "2 restarts of policy or guard, and 1 are allowed"


def test_a_manager_that_counts_anew_loses_nothing() -> None:
    judge = gate()
    for restarts in (5, 6, 0):
        assert judge.look(None, restarts) is Decision.WAIT
    assert judge.look(None, 1) is Decision.ROLL_BACK


def test_a_failure_is_for_good() -> None:
    judge = gate()
    judge.look(replace(GOOD, state="ARMED", golden=False), 0)
    assert judge.look(replace(GOOD, state="ARMED", followed=10 * NEEDED), 0) is Decision.WAIT
    assert judge.look(None, 0) is Decision.ROLL_BACK


# Faults that the world around a policy can cause say nothing against a bundle.
@pytest.mark.parametrize(
    "fault", sorted(FAULTS.keys() - {"bad_chunk", "excess", "violation", "travel", "stale_chunk", "late_chunks"})
)
def test_other_faults_condemn_no_bundle(fault: str) -> None:
    assert gate().look(replace(GOOD, counts={fault: 1000}), 0) is Decision.WAIT


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.none(),
                st.builds(
                    lambda pid, state, bundle, policy, followed, clipped, missed, golden: replace(
                        GOOD,
                        pid=pid,
                        state=state.value,
                        bundle=bundle,
                        policy_bundle=policy,
                        followed=followed,
                        clipped=clipped,
                        golden=golden,
                        counts={"stale_chunk": missed},
                    ),
                    st.integers(1, 3),
                    st.sampled_from(State),
                    st.sampled_from([NEW, OLD]),
                    st.sampled_from([NEW, OLD, ""]),
                    st.integers(0, 1200),
                    st.integers(0, 150),
                    st.integers(0, 4),
                    st.sampled_from([True, False, None]),
                ),
            ),
            st.integers(0, 5),
        ),
        max_size=20,
    )
)
def test_whatever_is_reported_no_moving_robot_is_rolled_back_and_no_failure_committed(
    reports: list[tuple[Status | None, int]],
) -> None:
    judge = gate()
    for status, restarts in reports:
        decision = judge.look(status, restarts)
        if status is not None and status.state in ("ARMED", "STOPPING"):
            assert decision is not Decision.ROLL_BACK
        if judge.failure:
            assert decision is not Decision.COMMIT
        if decision is Decision.COMMIT:
            assert judge.seconds >= LIMITS.seconds
