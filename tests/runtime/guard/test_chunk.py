"""From a chunk to the action of one moment."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.contracts import ActionChunk
from jetvla.runtime.guard.chunk import ChunkTiming, Planner
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import twist_spec
from jetvla.runtime.guard.rotation import rotation_vector

MS = 1_000_000
TIMING = ChunkTiming(horizon=3, dt_s=0.1, replan_s=0.1)
RATE = ActionDimension(name="v", quantity="linear", unit="m/s", semantics="velocity", frame="base_link")
POSITION = ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute")
DELTA = ActionDimension(name="d", quantity="joint", unit="rad", semantics="delta")
SPEC = ActionSpec(dimensions=(RATE, POSITION, DELTA))
ROWS = [[0.1, 1.0, 0.01], [0.2, 2.0, 0.02], [0.3, 4.0, -0.03]]


def chunk(actions: object, t0_ns: int = 1000 * MS, dt_ns: int = 100 * MS, dtype: type = np.float32) -> ActionChunk:
    return ActionChunk(np.array(actions, dtype=dtype), t0_ns, dt_ns, 1, "b", 0)


def planner(spec: ActionSpec = SPEC, timing: ChunkTiming = TIMING, limits: Limits | None = None) -> Planner:
    return Planner(spec, timing, limits or Limits())


@pytest.mark.parametrize(
    ("after_ms", "expected"),
    [
        (-5, [0.1, 1.0, 0.1]),
        (0, [0.1, 1.0, 0.1]),
        (50, [0.1, 1.5, 0.1]),
        (99, [0.1, 1.99, 0.1]),
        (100, [0.2, 2.0, 0.2]),
        (125, [0.2, 2.5, 0.2]),
        (200, [0.3, 4.0, -0.3]),
        (250, [0.3, 4.0, -0.3]),
        (10_000, [0.3, 4.0, -0.3]),
    ],
)
def test_rates_are_held_positions_interpolated_deltas_divided(after_ms: int, expected: list[float]) -> None:
    p = planner()
    plan = p.plan(chunk(ROWS))
    np.testing.assert_allclose(p.action(plan, (1000 + after_ms) * MS), expected, rtol=1e-6)


def test_a_horizon_of_one_holds() -> None:
    p = planner()
    plan = p.plan(chunk(ROWS[:1]))
    for after_ms in (0, 99, 100, 350):
        np.testing.assert_allclose(p.action(plan, (1000 + after_ms) * MS), [0.1, 1.0, 0.1], rtol=1e-6)


@pytest.mark.parametrize(("after_ms", "held_s"), [(-5, 0.0), (200, 0.0), (250, 0.05), (900, 0.7)])
def test_the_last_row_is_held_from_its_beginning(after_ms: int, held_s: float) -> None:
    assert planner().plan(chunk(ROWS)).held_s((1000 + after_ms) * MS) == pytest.approx(held_s)


@pytest.mark.parametrize(
    ("actions", "raw"),
    [
        (ROWS, (0.1, 1.0, 0.01)),
        ([[1, 2, 3], [4, np.inf, 6], [np.nan, 8, 9]], (4, np.inf, 6)),
        ([[1, 2]], ()),
        ([1, 2, 3], ()),
        (np.zeros((0, 3)), ()),
        (np.zeros((1, 3, 1)), ()),
    ],
)
def test_the_row_that_tells_what_is_wrong(actions: object, raw: tuple[float, ...]) -> None:
    assert planner().telling_row(chunk(actions)) == pytest.approx(raw)


def test_a_plan_is_stale_after_its_age_limit() -> None:
    p = planner()
    plan = p.plan(chunk(ROWS))
    assert p.age_limit_ns == 300 * MS
    assert not p.stale(plan, 1300 * MS)
    assert p.stale(plan, 1300 * MS + 1)


def test_timing_is_the_manifest_s(tiny_bundle: Path) -> None:
    manifest = Bundle.open(tiny_bundle, None).manifest
    assert ChunkTiming.of(manifest) == ChunkTiming(1, 0.1, 0.1, "latest", 0.01)
    other = {"horizon": 20, "dt_s": 0.04, "replan_s": 0.2, "execution": "temporal_ensemble"}
    changed = manifest.model_copy(update={**other, "ensemble_coefficient": 0.3})
    assert ChunkTiming.of(changed) == ChunkTiming(20, 0.04, 0.2, "temporal_ensemble", 0.3)


@pytest.mark.parametrize(("replan_s", "fade_s"), [(0.05, 0.05), (0.1, 0.1), (2.0, 0.1)])
def test_a_fade_is_as_long_as_configured_and_no_longer_than_replan(replan_s: float, fade_s: float) -> None:
    assert ChunkTiming(1, 0.1, replan_s).fade_s(Limits()) == fade_s


def test_selecting_does_not_change_the_plan() -> None:
    p = planner()
    plan = p.plan(chunk(ROWS))
    first = p.action(plan, 1050 * MS)
    first[:] = 99.0
    np.testing.assert_allclose(p.action(plan, 1050 * MS), [0.1, 1.5, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (chunk([1.0, 2.0, 3.0]), r"shape \[3\], not \[1..3, 3\]"),
        (chunk([[1.0, 2.0]]), r"shape \[1, 2\]"),
        (chunk(np.zeros((4, 3))), r"shape \[4, 3\]"),
        (chunk(np.zeros((0, 3))), r"shape \[0, 3\]"),
        (chunk(ROWS, dtype=np.float64), "dtype float64"),
        (chunk([[0.0, np.nan, 0.0], [0.0, 0.0, -np.inf]]), "not finite: j, d"),
        (chunk(ROWS, dt_ns=0), "dt 0 s, not 0.1 s"),
        (chunk(ROWS, dt_ns=-100 * MS), "dt -0.1 s"),
        (chunk(ROWS, dt_ns=102 * MS), "dt 0.102 s"),
    ],
)
def test_bad_chunks_say_what_is_wrong(bad: ActionChunk, named: str) -> None:
    assert re.search(named, planner().problem(bad))


@pytest.mark.parametrize("good", [chunk(ROWS), chunk(ROWS[:1]), chunk(ROWS, dt_ns=int(100.5 * MS))])
def test_good_chunks_have_no_problem(good: ActionChunk) -> None:
    assert planner().problem(good) == ""


@pytest.mark.parametrize(
    ("semantics", "timing", "limit_ms", "late_ms"),
    [
        ("velocity", ChunkTiming(1, 0.1, 0.1), 200, 100),
        ("velocity", ChunkTiming(4, 0.1, 0.1), 400, 300),
        ("velocity", ChunkTiming(16, 0.1, 0.1), 500, 400),
        ("velocity", ChunkTiming(1, 0.1, 0.4), 500, 100),
        ("absolute", ChunkTiming(16, 0.1, 0.1), 1600, 1500),
        ("absolute", ChunkTiming(1, 0.1, 0.4), 300, -100),
        ("both", ChunkTiming(16, 0.1, 0.1), 500, 400),
        ("both", ChunkTiming(1, 0.1, 0.4), 300, -100),
    ],
)
def test_action_age_is_two_replans_or_the_horizon_capped(
    semantics: str, timing: ChunkTiming, limit_ms: int, late_ms: int
) -> None:
    dimensions = {"velocity": (RATE,), "absolute": (POSITION,), "both": (RATE, POSITION)}[semantics]
    p = planner(ActionSpec(dimensions=dimensions), timing)
    assert p.age_limit_ns == limit_ms * MS
    assert p.late_ns == late_ms * MS


def rotating(semantics: str, unit: str, rotation: str, names: tuple[str, ...] = ("roll", "pitch", "yaw")) -> ActionSpec:
    return ActionSpec.model_validate(
        {
            "dimensions": [
                {"name": n, "quantity": "angular", "unit": unit, "semantics": semantics, "frame": "tool"} for n in names
            ],
            "rotation": rotation,
        }
    )


def test_turns_of_a_delta_become_a_rotation_vector_before_they_are_divided() -> None:
    p = planner(rotating("delta", "rad", "roll_pitch_yaw"))
    plan = p.plan(chunk([[np.pi / 2, 0.0, np.pi / 2]]))
    # A quarter turn about x and then one about z is a third of a turn about (1, 1, 1).
    third = 2 * np.pi / 3 / np.sqrt(3)
    np.testing.assert_allclose(p.action(plan, 1000 * MS) * 0.1, [third, third, third], rtol=1e-6)


@pytest.mark.parametrize(
    ("spec", "divisor"),
    [
        (rotating("delta", "rad", "rotation_vector"), 0.1),
        (rotating("velocity", "rad/s", "roll_pitch_yaw"), 1.0),
    ],
)
def test_rotation_vectors_and_rates_are_taken_as_they_are(spec: ActionSpec, divisor: float) -> None:
    p = planner(spec)
    plan = p.plan(chunk([[0.3, -0.2, 0.1]]))
    np.testing.assert_allclose(p.action(plan, 1000 * MS) * divisor, [0.3, -0.2, 0.1], rtol=1e-6)


def test_a_single_angle_is_its_own_rotation_vector() -> None:
    p = planner(rotating("delta", "rad", "roll_pitch_yaw", names=("yaw",)))
    plan = p.plan(chunk([[0.3]]))
    np.testing.assert_allclose(p.action(plan, 1000 * MS), [3.0], rtol=1e-6)


def test_a_twist_has_no_delta_rotation() -> None:
    p = planner(twist_spec())
    assert p.problem(chunk(np.zeros((1, 6)))) == ""


def test_each_frame_s_roll_pitch_and_yaw_are_one_rotation() -> None:
    spec = ActionSpec(
        dimensions=tuple(
            ActionDimension(
                name=f"{frame}_{n}", quantity="angular", unit="rad", semantics="delta", frame=f"{frame}_hand"
            )
            for frame in ("left", "right")
            for n in ("roll", "pitch", "yaw")
        ),
        rotation="roll_pitch_yaw",
    )
    p = planner(spec, ChunkTiming(horizon=1, dt_s=0.1, replan_s=0.1))
    angles = [0.3, -0.2, 0.4]
    action = p.action(p.plan(chunk([[*angles, *angles]])), 1000 * MS)
    expected = rotation_vector(np.array(angles)) / 0.1
    np.testing.assert_allclose(action, [*expected, *expected], rtol=1e-6)
