"""Time steps made sane."""

from __future__ import annotations

import pytest

from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.ticks import TickTimer

MS = 1_000_000


@pytest.fixture
def timer() -> TickTimer:
    timer = TickTimer(0.01, Limits())
    timer.tick(0)
    return timer


def test_the_first_tick_is_one_period_long() -> None:
    assert TickTimer(0.01, Limits()).tick(123) == (0.01, None)


def test_real_time_is_measured(timer: TickTimer) -> None:
    assert timer.tick(7 * MS) == (0.007, None)
    assert timer.tick(19 * MS) == (0.012, None)
    assert timer.tick(49 * MS) == (0.03, None)


def test_a_stall_is_a_fault_and_counts_as_the_longest_step(timer: TickTimer) -> None:
    dt_s, finding = timer.tick(30 * MS + 1)
    assert dt_s == pytest.approx(0.03)
    assert finding is not None
    assert finding.fault == "stall"
    assert "30.0 ms" in finding.reason
    assert timer.tick(40 * MS + 1)[1] is None


@pytest.mark.parametrize("now_ns", [0, -5 * MS])
def test_no_time_is_a_fault_and_lasting_it_is_a_broken_clock(timer: TickTimer, now_ns: int) -> None:
    found = [timer.tick(now_ns) for _ in range(4)]
    assert [dt_s for dt_s, _ in found] == [0.0] * 4
    assert [f.fault for _, f in found if f] == ["stall", "stall", "broken_clock", "broken_clock"]


def test_time_that_passes_again_is_no_broken_clock(timer: TickTimer) -> None:
    timer.tick(0)
    timer.tick(0)
    timer.tick(10 * MS)
    _, finding = timer.tick(10 * MS)
    assert finding is not None
    assert finding.fault == "stall"
    assert "1 times" in finding.reason
