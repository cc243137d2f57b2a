"""Durations by stage, over a window."""

from __future__ import annotations

import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.telemetry.stage_times import PERIOD_S, StageTimes

MS = 1_000_000


def test_only_stages_that_ran_are_in_the_summary() -> None:
    times = StageTimes(FakeClock())
    for duration in (2 * MS, 4 * MS, 4 * MS):
        times.record("step", duration)
    (name,) = times.summary()
    assert name == "step"
    summary = times.summary()["step"]
    assert summary["count"] == 3
    assert summary["p50"] == pytest.approx(4, rel=0.01)
    assert summary["max"] == 4


def test_an_unknown_stage_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        StageTimes(FakeClock()).record("lunch", 1)


def test_a_reset_keeps_what_it_is_told_to() -> None:
    times = StageTimes(FakeClock())
    times.record("step", MS)
    times.record("language", MS)
    times.reset(keep=("language",))
    assert times.summary().keys() == {"language"}


def test_what_is_older_than_two_periods_is_forgotten() -> None:
    clock = FakeClock()
    times = StageTimes(clock)
    times.record("step", MS)
    clock.advance(PERIOD_S)
    assert times.summary().keys() == {"step"}
    clock.advance(PERIOD_S)
    assert times.summary() == {}
