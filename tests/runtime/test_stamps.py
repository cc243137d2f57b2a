"""Header stamps become capture times whatever the wall clock does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetvla.runtime.clock import NS_PER_S, FakeClock, seconds_to_ns
from jetvla.runtime.stamps import StampConverter, StampError

HOUR = 3600.0
EPOCH_2026 = 1_795_000_000 * NS_PER_S


class Machine:
    """A monotonic and a wall clock that can be set."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self._offset = EPOCH_2026
        self.stamps = StampConverter(self.clock, self.wall_ns)

    def wall_ns(self) -> int:
        return self.clock.now_ns() + self._offset

    def step(self, seconds: float) -> None:
        self._offset += seconds_to_ns(seconds)


@given(st.floats(0, 1))
def test_a_capture_time_is_the_stamp_on_the_monotonic_clock(age_s: float) -> None:
    machine = Machine()
    stamp, taken = machine.wall_ns(), machine.clock.now_ns()
    machine.clock.advance(age_s)
    assert machine.stamps.to_monotonic(stamp) == taken


@pytest.mark.parametrize("step_s", [HOUR, -HOUR, 1.5, -1.5])
def test_a_step_of_the_wall_clock_loses_no_image(step_s: float) -> None:
    machine = Machine()
    under_way, taken = machine.wall_ns(), machine.clock.now_ns()
    machine.clock.advance(0.03)
    machine.step(step_s)
    after, taken_after = machine.wall_ns(), machine.clock.now_ns()
    machine.clock.advance(0.03)
    assert machine.stamps.to_monotonic(after) == taken_after
    assert machine.stamps.to_monotonic(under_way) == taken


@pytest.mark.parametrize("step_s", [HOUR, -HOUR])
def test_a_publisher_that_does_not_step_with_us_goes_on(step_s: float) -> None:
    machine = Machine()
    machine.step(step_s)
    for _ in range(100):
        machine.clock.advance(0.033)
        taken = machine.clock.now_ns() - seconds_to_ns(0.02)
        assert machine.stamps.to_monotonic(taken + EPOCH_2026) == taken


@pytest.mark.parametrize("step_s", [HOUR, -HOUR])
def test_a_step_and_back(step_s: float) -> None:
    machine = Machine()
    for step in (step_s, -step_s, step_s):
        machine.step(step)
        taken = machine.clock.now_ns()
        assert machine.stamps.to_monotonic(machine.wall_ns()) == taken


def test_each_step_keeps_the_offset_of_just_before() -> None:
    machine = Machine()
    for _ in range(3):
        under_way, taken = machine.wall_ns(), machine.clock.now_ns()
        machine.clock.advance(0.03)
        machine.step(HOUR)
        assert machine.stamps.to_monotonic(under_way) == taken


def test_many_small_slews_do_not_push_out_the_offset_of_before_a_step() -> None:
    machine = Machine()
    machine.step(HOUR)
    for _ in range(50):
        machine.step(0.001)
        machine.clock.advance(0.033)
        machine.stamps.to_monotonic(machine.wall_ns())
    taken = machine.clock.now_ns()
    assert machine.stamps.to_monotonic(taken + EPOCH_2026) == taken


def test_where_both_offsets_would_do_the_newer_counts() -> None:
    machine = Machine()
    machine.step(-0.5)
    taken = machine.clock.now_ns()
    stamp = machine.wall_ns()
    machine.clock.advance(0.1)
    assert machine.stamps.to_monotonic(stamp) == taken


@pytest.mark.parametrize("age_s", [-HOUR, -0.001, 1.001, HOUR])
def test_an_impossible_age_is_refused(age_s: float) -> None:
    machine = Machine()
    with pytest.raises(StampError, match=rf"age of {age_s:.3f} s"):
        machine.stamps.to_monotonic(machine.wall_ns() - seconds_to_ns(age_s))


@pytest.mark.parametrize(("stamp_ns", "what"), [(0, "zero"), (1, "of simulated time"), (9 * 10**15, "of simulated")])
def test_stamps_that_are_no_wall_time_are_named(stamp_ns: int, what: str) -> None:
    with pytest.raises(StampError, match=rf"stamp is {what}.*'stamp: arrival'"):
        Machine().stamps.to_monotonic(stamp_ns)


def test_the_real_clocks_agree() -> None:
    import time

    from jetvla.runtime.clock import MonotonicClock

    clock = MonotonicClock()
    converter = StampConverter(clock)
    before = clock.now_ns()
    stamp = time.time_ns()
    after = clock.now_ns()
    assert before - 1_000_000 <= converter.to_monotonic(stamp) <= after + 1_000_000
