"""Deadlines."""

from __future__ import annotations

import itertools

import pytest

from jetvla.runtime.clock import FakeClock, MonotonicClock
from jetvla.runtime.guard.pacer import Pacer, Wake

MS = 1_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(start_ns=0)


def test_ticks_are_at_multiples_of_the_period(clock: FakeClock) -> None:
    pacer = Pacer(clock, 100.0)
    times = []
    for work_s in (0.0, 0.002, 0.0099, 0.001):
        clock.advance(work_s)
        assert pacer.wait() == Wake(0, False)
        times.append(clock.now_ns())
    assert times == [10 * MS, 20 * MS, 30 * MS, 40 * MS]


def test_a_rate_without_whole_nanoseconds_does_not_drift(clock: FakeClock) -> None:
    pacer = Pacer(clock, 30.0)
    for _ in range(3000):
        pacer.wait()
    assert clock.now_ns() == 100_000 * MS


def test_a_little_late_keeps_the_deadlines(clock: FakeClock) -> None:
    pacer = Pacer(clock, 100.0)
    clock.advance(0.015)
    assert pacer.wait() == Wake(5 * MS, False)
    assert pacer.wait() == Wake(0, False)
    assert clock.now_ns() == 20 * MS


def test_a_stall_moves_the_deadlines_and_is_not_made_up_for(clock: FakeClock) -> None:
    pacer = Pacer(clock, 100.0)
    clock.advance(0.0151)
    assert pacer.wait() == Wake(5 * MS + 100_000, True)
    clock.advance(3.0)
    assert pacer.wait().reanchored
    stalled_ns = clock.now_ns()
    times = []
    for _ in range(3):
        assert pacer.wait() == Wake(0, False)
        times.append(clock.now_ns() - stalled_ns)
    assert times == [10 * MS, 20 * MS, 30 * MS]


def test_ticks_are_never_closer_than_half_a_period(clock: FakeClock) -> None:
    pacer = Pacer(clock, 100.0)
    times = [0]
    for k in range(1000):
        clock.advance((k * 7 % 29) / 1000)
        pacer.wait()
        times.append(clock.now_ns())
    assert min(b - a for a, b in itertools.pairwise(times)) >= 5 * MS


def test_on_the_real_clock_it_never_returns_early() -> None:
    clock = MonotonicClock()
    pacer = Pacer(clock, 1000.0)
    start_ns = clock.now_ns()
    assert all(pacer.wait().late_ns >= 0 for _ in range(20))
    assert clock.now_ns() - start_ns >= 19 * MS
