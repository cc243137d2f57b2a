"""What is gathered from spans: every stage's figures, and the way of each frame."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from jetvla.runtime.telemetry.span_reader import Span
from jetvla.services.profiling.collector import Collector, Misses
from jetvla.services.profiling.record import MAX_FRAMES, MAX_SAMPLES, Profile

MS = 1_000_000


def test_what_ended_before_the_measurement_is_left_out_but_for_the_language() -> None:
    collector = Collector(100 * MS, {})
    collector.add([Span("step", 10 * MS, 50 * MS, 1), Span("language", 20 * MS, 7 * MS, 1)])
    collector.add([Span("step", 98 * MS, 4 * MS, 2)])
    figures = collector.figures()
    assert figures["step"].count == 1
    assert figures["step"].samples_us == (4000.0,)
    assert figures["language"].samples_us == (7000.0,)
    assert "guard" not in figures


def test_percentiles_are_within_the_stated_resolution_of_the_samples() -> None:
    collector = Collector(0, {})
    collector.add(Span("guard", 0, ns * 1000, 0) for ns in range(1, 1001))
    figures = collector.figures()["guard"]
    assert (figures.count, figures.max) == (1000, 1.0)
    for value, exact in ((figures.p50, 0.5), (figures.p90, 0.9), (figures.p99, 0.99), (figures.p999, 0.999)):
        assert exact <= value <= exact * (1 + 1 / 128)


def test_samples_and_frames_stay_bounded_and_the_newest_are_kept() -> None:
    collector = Collector(0, {})
    for index in range(1, MAX_SAMPLES + 3001):
        collector.add([Span("step", index * MS, index, index * MS), Span("age", index * MS, 5 * MS, index * MS)])
    figures = collector.figures()["step"]
    assert figures.count == MAX_SAMPLES + 3000
    assert len(figures.samples_us) == MAX_SAMPLES
    frames = collector.frames()
    assert len(frames.captured_ms) == MAX_FRAMES
    assert frames.captured_ms[-1] == MAX_SAMPLES + 3000


def test_deadline_misses_are_counted_exactly() -> None:
    collector = Collector(0, {"step": 2 * MS})
    collector.add(Span("step", 0, ns, 0) for ns in (2 * MS, 2 * MS + 1, MS))
    assert collector.misses()["step"] == Misses(1, 3)
    assert collector.misses()["guard"] == Misses(0, 0)


def way(captured_ms: int, obeyed_ms: int | None = None) -> list[Span]:
    """A frame that the policy acts on within a millisecond."""
    at = captured_ms * MS
    spans = [Span("step", at, MS, at)]
    return spans if obeyed_ms is None else [*spans, Span("age", at, obeyed_ms * MS - at, at)]


def test_frames_of_a_guard_that_stopped_miss_their_deadline() -> None:
    """Ten frames a second for two seconds, of which those of the second half no command obeys."""
    collector = Collector(0, {"age": 50 * MS})
    for ms in range(100, 2100, 100):
        collector.add(way(ms, ms + 20 if ms <= 1000 else None))
        collector.add([Span("guard", (ms + 90) * MS, MS, 0)])
    assert collector.misses()["age"] == Misses(10, 20)


def test_a_long_gap_before_the_next_frame_that_is_obeyed_counts() -> None:
    collector = Collector(0, {"age": 50 * MS})
    for ms in (100, 200, 300, 400):
        collector.add(way(ms, ms + 20 if ms in (100, 400) else None))
    assert collector.misses()["age"] == Misses(2, 4)


def test_what_a_newer_frame_answers_in_time_is_no_miss_and_neither_is_what_the_policy_never_saw() -> None:
    collector = Collector(0, {"age": 50 * MS})
    collector.add(Span("capture", ms * MS, MS, ms * MS) for ms in (90, 95))
    collector.add([*way(100), *way(105, 120)])
    collector.add([Span("guard", 900 * MS, MS, 0)])
    assert collector.misses()["age"] == Misses(0, 1)


def test_a_frame_whose_time_is_not_over_or_that_was_captured_before_is_no_miss() -> None:
    collector = Collector(100 * MS, {"age": 50 * MS})
    collector.add([Span("step", 99 * MS, 2 * MS, 99 * MS), *way(170)])
    collector.add([Span("guard", 210 * MS, MS, 0)])
    assert collector.misses()["age"] == Misses(0, 0)


@pytest.mark.parametrize(("obeyed_ms", "missed"), [(120, Misses(0, 1)), (180, Misses(1, 2))])
def test_the_policy_may_be_read_after_the_guard(obeyed_ms: int, missed: Misses) -> None:
    collector = Collector(0, {"age": 70 * MS})
    older, newer = way(100), way(115, obeyed_ms)
    collector.add([newer[1], Span("guard", 900 * MS, MS, 0)])
    collector.add([*older, newer[0]])
    assert collector.misses()["age"] == missed


def test_frames_that_wait_for_ever_stay_bounded() -> None:
    collector = Collector(0, {"age": 50 * MS})
    for index in range(1, 5001):
        collector.add(way(index))
    collector.add([Span("guard", 9000 * MS, MS, 0)])
    assert collector.misses()["age"] == Misses(5000, 5000)


def test_readings_elsewhere_stand_for_the_one_of_the_daemons() -> None:
    collector = Collector(100 * MS, {"language": 2 * MS})
    collector.add([Span("language", 20 * MS, 70 * MS, 1)])
    collector.replace("language", (MS, 3 * MS, MS))
    assert collector.figures()["language"].samples_us == (1000.0, 3000.0, 1000.0)
    assert collector.misses()["language"] == Misses(1, 3)


def test_a_frame_has_the_tick_that_decided_its_command() -> None:
    collector = Collector(0, {})
    frame = 10 * MS
    collector.add([Span("capture", frame, 3 * MS, frame), Span("step", 13 * MS, MS, frame)])
    collector.add([Span("guard", 16 * MS, MS // 2, 0), Span("guard", 20 * MS, MS // 4, 0)])
    collector.add([Span("age", frame, 11 * MS, frame), Span("publish", 20_300_000, 700_000, frame)])
    frames = collector.frames()
    assert frames.stages["guard"].begin_us == (10_000.0,)
    assert frames.stages["guard"].duration_us == (250.0,)
    assert frames.stages["age"].duration_us == (11_000.0,)


def test_a_stage_that_did_not_run_for_a_frame_is_no_number_there(make_profile: Callable[..., Profile]) -> None:
    collector = Collector(0, {})
    for index in (1, 2):
        at = index * 100 * MS
        collector.add([Span("step", at, MS, at), Span("age", at, 2 * MS, at)])
    collector.add([Span("language", 200 * MS, MS, 200 * MS)])
    first, second = collector.frames().stages["language"].duration_us
    assert math.isnan(first)
    assert second == pytest.approx(1000)
