"""How overlapping chunks are merged: known answers, and slow references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.contracts import ActionChunk
from jetvla.runtime.guard.blend import Blend
from jetvla.runtime.guard.chunk import ChunkTiming, Planner
from jetvla.runtime.guard.ensemble import MAX_PLANS, Ensemble
from jetvla.runtime.guard.execution import Execution, Latest, open_execution
from jetvla.runtime.guard.limits import Limits

MS = 1_000_000
RATE = ActionDimension(name="v", quantity="linear", unit="m/s", semantics="velocity", frame="base_link")
JOINT = ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute")
SPEC = ActionSpec(dimensions=(RATE, JOINT))
JOINTS = ActionSpec(dimensions=(JOINT,))
LIMITS = Limits(action_age_rate_s=10.0)


def timing(execution: str, horizon: int = 4, replan_s: float = 0.1, m: float = 0.01) -> ChunkTiming:
    return ChunkTiming(horizon, 0.1, replan_s, execution, m)  # type: ignore[arg-type]  # a Literal


class Merged:
    """An execution that is given rows, and asked in milliseconds."""

    def __init__(self, of: ChunkTiming, spec: ActionSpec = JOINTS, limits: Limits = LIMITS) -> None:
        self.planner = Planner(spec, of, limits)
        self.execution: Execution = open_execution(spec, of, limits, self.planner)

    def add(self, rows: object, t0_ms: int, now_ms: int | None = None) -> None:
        actions = np.array(rows, np.float32)
        plan = self.planner.plan(ActionChunk(actions, t0_ms * MS, 100 * MS, 1, "b", 0))
        self.execution.add(plan, (t0_ms if now_ms is None else now_ms) * MS)

    def at(self, now_ms: float) -> list[float]:
        return [round(v, 6) for v in self.execution.values(round(now_ms * MS)).tolist()]


@pytest.mark.parametrize(("name", "kind"), [("latest", Latest), ("temporal_ensemble", Ensemble), ("blend", Blend)])
def test_the_manifest_s_name_chooses(name: str, kind: type) -> None:
    merged = Merged(timing(name))
    assert type(merged.execution) is kind
    assert merged.execution.newest is None


@pytest.mark.parametrize("name", ["latest", "temporal_ensemble", "blend"])
def test_one_plan_is_taken_as_it_is_and_its_last_row_held(name: str) -> None:
    merged = Merged(timing(name), SPEC)
    merged.add([[0.1, 1.0], [0.2, 2.0], [0.3, 4.0]], 1000)
    expected = {990: [0.1, 1.0], 1000: [0.1, 1.0], 1050: [0.1, 1.5], 1100: [0.2, 2.0], 1199: [0.2, 3.98]}
    expected |= {1200: [0.3, 4.0], 1299: [0.3, 4.0], 1300: [0.3, 4.0], 1400: [0.3, 4.0]}
    assert {t: merged.at(t) for t in expected} == expected


@pytest.mark.parametrize("name", ["latest", "temporal_ensemble", "blend"])
def test_nothing_is_left_of_cleared_plans(name: str) -> None:
    merged = Merged(timing(name))
    merged.add([[1.0]] * 4, 1000)
    merged.add([[3.0]] * 4, 1050)
    merged.execution.clear()
    assert merged.execution.newest is None
    merged.add([[2.0]] * 4, 1060)
    assert merged.at(1060) == merged.at(1100) == [2.0]


def test_latest_changes_at_once() -> None:
    merged = Merged(timing("latest"))
    merged.add([[1.0]] * 4, 1000)
    merged.add([[3.0]] * 4, 1050)
    assert merged.at(1050) == [3.0]


# Blend


def test_a_fade_goes_from_the_old_plan_to_the_new_one_without_a_kink() -> None:
    merged = Merged(timing("blend"))
    merged.add([[0.0], [1.0], [2.0], [3.0]], 1000)
    merged.add([[2.0]] * 4, 1080, now_ms=1100)
    # Old: 1 + t/100 ms; new: 2; s = 3 x^2 - 2 x^3.
    expected = {1100: 1.0, 1125: 1.25 + 0.15625 * 0.75, 1150: 1.75, 1175: 1.75 + 0.84375 * 0.25, 1200: 2.0, 1300: 2.0}
    assert {t: merged.at(t)[0] for t in expected} == {t: round(v, 6) for t, v in expected.items()}
    slopes = np.diff([merged.at(t)[0] for t in (1099, 1100, 1101, 1199, 1200, 1201)])
    assert slopes[:2] == pytest.approx([0.01, 0.01], abs=1e-3)
    assert slopes[3:] == pytest.approx([0.0, 0.0], abs=1e-3)


@pytest.mark.parametrize(("replan_s", "blend_s", "length_ms"), [(0.04, 0.1, 40), (0.2, 0.1, 100), (0.2, 0.15, 150)])
def test_a_fade_is_no_longer_than_the_time_between_chunks(replan_s: float, blend_s: float, length_ms: int) -> None:
    merged = Merged(timing("blend", replan_s=replan_s), limits=Limits(blend_s=blend_s))
    merged.add([[0.0]] * 4, 1000)
    merged.add([[1.0]] * 4, 1000)
    assert merged.at(1000 + length_ms / 2) == [0.5]
    assert merged.at(1000 + length_ms - 1)[0] < 1.0
    assert merged.at(1000 + length_ms) == [1.0]


def test_a_plan_that_comes_during_a_fade_starts_where_the_request_is() -> None:
    merged = Merged(timing("blend"))
    merged.add([[0.0]] * 4, 1000)
    merged.add([[1.0]] * 4, 1010)
    merged.add([[3.0]] * 4, 1060)
    assert merged.at(1060) == [0.5]
    assert merged.at(1110) == [1.75]
    assert merged.at(1160) == [3.0]


def test_a_fade_ends_when_the_old_plan_is_too_old() -> None:
    merged = Merged(timing("blend", horizon=1))
    assert merged.planner.age_limit_ns == 200 * MS
    merged.add([[0.0]], 1000)
    merged.add([[1.0]], 1160)
    assert merged.at(1180) == [0.5]
    assert merged.at(1200) == [1.0]


def test_a_fade_without_length_is_none() -> None:
    merged = Merged(timing("blend", horizon=1))
    merged.add([[0.0]], 1000)
    merged.add([[1.0]], 1200)
    assert merged.at(1199) == [0.0]
    assert merged.at(1200) == [1.0]


def test_time_that_goes_back_does_not_leave_a_fade() -> None:
    merged = Merged(timing("blend"))
    merged.add([[0.0]] * 4, 1000)
    merged.add([[1.0]] * 4, 1050)
    assert merged.at(500) == [0.0]


# Ensemble


def test_the_oldest_weighs_most_by_the_coefficient() -> None:
    merged = Merged(timing("temporal_ensemble", m=float(np.log(2))))
    for k, value in enumerate([7.0, 14.0, 28.0]):
        merged.add([[value]] * 4, 1000 + 50 * k)
    # Weights 1, 1/2, 1/4.
    assert merged.at(1100) == [12.0]


@pytest.mark.parametrize(("m", "expected"), [(0.0, 2.0), (10.0, 1.0), (-10.0, 3.0)])
def test_coefficients_of_any_sign(m: float, expected: float) -> None:
    merged = Merged(timing("temporal_ensemble", m=m))
    for k, value in enumerate([1.0, 2.0, 3.0]):
        merged.add([[value]] * 4, 1000 + 50 * k)
    assert merged.at(1100)[0] == pytest.approx(expected, abs=1e-3)


def test_each_chunk_is_read_at_its_own_time() -> None:
    merged = Merged(timing("temporal_ensemble", m=0.0), SPEC)
    merged.add([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], 1000)
    merged.add([[0.0, 10.0], [4.0, 30.0]], 1050)
    # At 1175 ms: rates 1 (row 1) and 4 (row 1); positions 1.75 and, held at the end, 30.
    assert merged.at(1175) == [2.5, 15.875]


def test_a_chunk_that_has_run_out_does_not_count() -> None:
    merged = Merged(timing("temporal_ensemble", m=0.0))
    merged.add([[0.0], [0.0]], 1000)
    merged.add([[1.0], [1.0]], 1100)
    assert [merged.at(t) for t in (1199, 1200)] == [[0.5], [1.0]]


def test_a_chunk_beyond_its_age_does_not_count() -> None:
    merged = Merged(timing("temporal_ensemble", m=0.0), ActionSpec(dimensions=(RATE,)), Limits(action_age_rate_s=0.25))
    merged.add([[0.0]] * 4, 1000)
    merged.add([[1.0]] * 4, 1100)
    assert [merged.at(t) for t in (1250, 1250 + 1e-6)] == [[0.5], [1.0]]


def test_when_all_have_run_out_the_newest_is_held() -> None:
    merged = Merged(timing("temporal_ensemble", m=0.0))
    merged.add([[0.0]], 1000)
    merged.add([[1.0]], 1050)
    assert merged.at(1149) == [1.0]
    assert merged.at(1250) == [1.0]


def test_a_chunk_of_fewer_rows_leaves_nothing_of_what_was_in_its_place() -> None:
    merged = Merged(timing("temporal_ensemble", horizon=2, replan_s=0.2, m=0.0))
    for k in range(4):
        merged.add([[5.0], [9.0]], 1000 + k)
    merged.add([[5.0]], 1004)
    merged.add([[5.0]], 1004)
    assert merged.at(1100) == [5.0]


@pytest.mark.parametrize(
    ("horizon", "replan_s", "kept"), [(1, 0.1, 2), (4, 0.1, 5), (20, 0.667, 4), (1000, 0.1, MAX_PLANS)]
)
def test_a_flood_of_chunks_keeps_the_newest_ones_and_costs_no_more(horizon: int, replan_s: float, kept: int) -> None:
    merged = Merged(timing("temporal_ensemble", horizon, replan_s, m=0.0))
    # One more than a whole number of rounds through the buffers, which all of their sizes divide.
    for k in range(3 * MAX_PLANS + 1):
        merged.add([[float(k)]], 1000)
    assert merged.at(1000) == [3 * MAX_PLANS - (kept - 1) / 2]
    assert isinstance(merged.execution, Ensemble)
    sizes = [v.nbytes for v in vars(merged.execution).values() if isinstance(v, np.ndarray)]
    assert sum(sizes) <= kept * (horizon * 8 + 3 * 8) + 8


def reference(
    chunks: list[tuple[int, NDArray[np.float64]]], now_ms: int, m: float, age_limit_ms: float
) -> NDArray[np.float64]:
    """The ensemble of ``chunks``: t0 in ms, and rows [H, 2] of a rate and a position every 100 ms."""
    counting = []
    for t0_ms, rows in chunks:
        age_ms = now_ms - t0_ms
        if age_ms <= age_limit_ms and age_ms < 100 * len(rows):
            times = 100.0 * np.arange(len(rows))
            rate = rows[np.flatnonzero(times <= max(age_ms, 0))[-1], 0]
            counting.append([rate, np.interp(age_ms, times, rows[:, 1])])
    if not counting:
        return chunks[-1][1][-1]
    total, weights = np.zeros(2), 0.0
    for i, values in enumerate(counting):
        total += np.exp(-m * i) * np.array(values)
        weights += np.exp(-m * i)
    return total / weights


numbers = st.floats(-10, 10, width=32)


@settings(max_examples=200, deadline=None)
@given(
    chunks=st.lists(
        st.tuples(st.integers(0, 300), st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4)),
        min_size=1,
        max_size=12,
    ),
    m=st.floats(-1, 1),
    after_ms=st.integers(-5, 500),
)
def test_the_ensemble_is_that_of_the_reference(
    chunks: list[tuple[int, list[tuple[float, float]]]], m: float, after_ms: int
) -> None:
    merged = Merged(timing("temporal_ensemble", horizon=4, replan_s=0.01, m=m), SPEC)
    t_ms, taken = 1000, []
    for later_ms, rows in chunks:
        t_ms += later_ms
        taken.append((t_ms, np.array(rows)))
        merged.add(rows, t_ms)
    now_ms = t_ms + after_ms
    expected = reference(taken, now_ms, m, merged.planner.age_limit_ns / MS)
    np.testing.assert_allclose(merged.execution.values(now_ms * MS), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 150), numbers, numbers), min_size=1, max_size=15))
def test_a_blend_never_jumps_and_stays_near_the_plans(chunks: list[tuple[int, float, float]]) -> None:
    merged = Merged(timing("blend"))
    t_ms = 1000
    low, high = np.inf, -np.inf
    for later_ms, first, last in chunks:
        t_ms += later_ms
        before = merged.execution.values(t_ms * MS) if merged.execution.newest is not None else None
        merged.add([[first], [last]], t_ms)
        after = merged.execution.values(t_ms * MS)
        low, high = min(low, first, last), max(high, first, last)
        if before is not None:
            np.testing.assert_allclose(after, before, atol=1e-9)
        for step_ms in range(0, 100, 10):
            value = float(merged.execution.values((t_ms + step_ms) * MS)[0])
            # A plan that comes during a fade leaves the old one its slope, but not its place.
            assert 2 * low - high - 1e-6 <= value <= 2 * high - low + 1e-6
    assert merged.execution.values((t_ms + 250) * MS)[0] == pytest.approx(chunks[-1][2])
