"""Whatever the policy sends and whenever ticks come: what is published stays within the limits.

The judge here is numpy on the published commands and their times; it shares no code with the guard.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import cycle, pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.box import Box
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.faults import FAULTS
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import GuardRig
from jetvla.runtime.link.protocol import CameraHealth, Health, IdleReason, StageTimes

Array = NDArray[np.float64]

PERIOD_S = 0.01
V, UP, DOWN, JERK = 0.25, 0.5, 1.0, 10.0
W, W_UP, W_DOWN, W_JERK = 0.5, 1.0, 2.0, 20.0
ROUNDING = 1e-6

RULES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def dimension(name: str, quantity: str, unit: str, semantics: str, **more: object) -> ActionDimension:
    return ActionDimension.model_validate(
        {"name": name, "quantity": quantity, "unit": unit, "semantics": semantics, **more}
    )


TWIST = ActionSpec(
    dimensions=(
        *(dimension(n, "linear", "m/s", "velocity", frame="base") for n in "xyz"),
        *(dimension(n, "angular", "rad/s", "velocity", frame="base") for n in ("roll", "pitch", "yaw")),
    ),
    rotation="rotation_vector",
)
DELTAS = ActionSpec(
    dimensions=(
        *(dimension(n, "linear", "m", "delta", frame="base") for n in "xyz"),
        *(dimension(n, "angular", "rad", "delta", frame="base") for n in ("roll", "pitch", "yaw")),
        dimension("gripper", "gripper", "1", "absolute"),
    ),
    rotation="roll_pitch_yaw",
)
JOINTS = ActionSpec(
    dimensions=tuple(dimension(f"j{i}", "joint", "rad", "absolute", range=(-1.0, 1.0)) for i in range(4))
)

single = st.floats(width=32)
sensible = st.floats(-0.375, 0.375, width=32)
extreme = st.sampled_from([0.0, -0.0, 0.25, -0.25, 1e-45, -1e-45, 3.4e38, -3.4e38, math.nan, math.inf, -math.inf])
time_step = st.one_of(
    st.just(PERIOD_S),
    st.floats(0.005, 0.02),
    st.floats(1e-6, 0.03),
    st.sampled_from([0.0, -0.01, 1e-9, 0.0300001, 0.05, 1.0]),
)


def action(spec: ActionSpec) -> st.SearchStrategy[list[float]]:
    number = st.one_of(sensible, sensible, sensible, extreme, single)
    return st.lists(number, min_size=len(spec), max_size=len(spec))


# A policy that may jump and ask for too much without being latched, so that more of its motion is seen.
PATIENT = Limits(seam_m=1e9, seam_rad=1e9, seam_ratio=1e9, excess_count=1000, excess_window=1000)
limits = st.sampled_from([Limits(), PATIENT, PATIENT])

Step = tuple[str, object]


def steps(spec: ActionSpec) -> st.SearchStrategy[list[Step]]:
    """What happens, mostly chunks and ticks."""
    chunk = st.tuples(st.just("chunk"), action(spec))
    ticks = st.tuples(st.just("ticks"), st.lists(time_step, min_size=1, max_size=30))
    smooth = st.tuples(st.just("ticks"), st.integers(1, 40).map(lambda n: [PERIOD_S] * n))
    other = st.tuples(
        st.sampled_from(["idle", "say", "silence", "disarm", "estop", "reset", "arm", "link", "camera", "wrong"]),
        st.none(),
    )
    return st.lists(st.one_of(chunk, chunk, chunk, ticks, smooth, smooth, other), min_size=5, max_size=40)


def other_step(rig: GuardRig, name: str) -> None:
    actions: dict[str, Callable[[], object]] = {
        "idle": rig.idle,
        "say": lambda: rig.say(f"words {rig.clock.now_ns()}"),
        "silence": lambda: rig.guard.on_instruction(None),
        "disarm": rig.guard.disarm,
        "estop": lambda: (rig.guard.on_estop(True), rig.guard.on_estop(False)),
        "reset": rig.guard.reset,
        "arm": lambda: (rig.ready(), rig.guard.arm()),
        "link": lambda: rig.guard.on_link_lost("gone"),
        "camera": lambda: rig.idle(IdleReason.NO_CAMERA),
        "wrong": lambda: rig.chunk(np.zeros((1, 2))),
    }
    actions[name]()


def play(rig: GuardRig, sequence: list[Step]) -> None:
    for name, argument in sequence:
        if isinstance(argument, list) and name == "chunk":
            rig.health()
            rig.chunk(argument)
        elif isinstance(argument, list):
            for k, dt_s in enumerate(argument):
                if k % 10 == 0:
                    rig.health()
                rig.step(dt_s)
        else:
            other_step(rig, name)


def published(rig: GuardRig) -> list[tuple[Array, Array]]:
    """Runs of commands without a gap: effective times [n] and values [n, D], from the rest before the first."""
    runs: list[tuple[list[float], list[Array]]] = []
    now, gap, last_ns = 0.0, True, None
    for result in rig.results:
        if result.command is None:
            gap = True
            continue
        real = 0.0 if last_ns is None else (result.command.t_ns - last_ns) / 1e9
        last_ns = result.command.t_ns
        # A stall counts as three periods: stricter than the time that has really passed.
        now += min(max(real, 0.0), 3 * PERIOD_S)
        if gap:
            runs.append(([], []))
            gap = False
        runs[-1][0].append(now)
        runs[-1][1].append(result.command.values)
    return [(np.array(t), np.array(v)) for t, v in runs]


def judge_rates(t: Array, v: Array, limits: tuple[float, float, float, float]) -> None:
    """Velocity vectors v [n, k] at times t [n], from rest: speed, gain of speed, change, change of change."""
    speed_limit, up, down, jerk = limits
    assert np.isfinite(v).all()
    speed = np.linalg.norm(v, axis=1)
    assert (speed <= speed_limit * (1 + ROUNDING)).all()
    dt = np.diff(t)
    still = dt == 0
    assert (v[1:][still] == v[:-1][still]).all()
    keep = np.concatenate([[True], ~still])
    t, v, speed = t[keep], v[keep], speed[keep]
    dt = np.diff(t)
    # Numbers of about 0.5 carry 1e-16 of rounding, which differences over a microsecond make visible.
    noise = 1e-14 / np.minimum(dt, PERIOD_S)
    a = np.diff(v, axis=0) / dt[:, None]
    assert (np.diff(speed) / dt <= up * (1 + ROUNDING) + noise).all()
    assert (np.linalg.norm(a, axis=1) <= down * (1 + ROUNDING) + noise).all()
    span = (dt[1:] + dt[:-1]) / 2
    j = np.linalg.norm(np.diff(a, axis=0), axis=1) / span
    noise = 1e-13 / np.minimum(dt[1:], dt[:-1]) ** 2
    assert (j <= jerk * (1 + ROUNDING) + noise).all()


def judge_travel(t: Array, way: Array, limit_100ms: float, limit_1s: float) -> None:
    """``way[k]`` was covered from ``t[k]`` to ``t[k + 1]``: no window holds more than its limit."""
    so_far = np.concatenate([[0.0], np.cumsum(way)])
    for span, limit in ((0.1, limit_100ms), (1.0, limit_1s)):
        before = np.interp(t - span, t, so_far)
        assert (so_far - before <= limit * (1 + ROUNDING)).all()


def judge_twist(rig: GuardRig) -> None:
    for t, values in published(rig):
        judge_rates(t, values[:, :3], (V, UP, DOWN, JERK))
        judge_rates(t, values[:, 3:6], (W, W_UP, W_DOWN, W_JERK))
        judge_travel(t, np.linalg.norm(values[:-1, :3], axis=1) * np.diff(t), V * 0.1, V * 1.0)


def broken_clock(rig: GuardRig) -> bool:
    """The brake counts ticks and not time, and has no limit of jerk; it is judged elsewhere."""
    return "broken_clock" in rig.faults()


@RULES
@given(steps(TWIST), limits)
def test_twists_stay_within_the_limits(sequence: list[Step], limits: Limits) -> None:
    rig = GuardRig(TWIST, limits=limits)
    rig.arm()
    play(rig, sequence)
    assert not {"violation", "travel"} & set(rig.faults())
    if not broken_clock(rig):
        judge_twist(rig)


@RULES
@given(steps(DELTAS), limits)
def test_deltas_stay_within_the_limits(sequence: list[Step], limits: Limits) -> None:
    rig = GuardRig(DELTAS, limits=limits)
    rig.arm()
    play(rig, sequence)
    assert not {"violation", "travel"} & set(rig.faults())
    if not broken_clock(rig):
        judge_twist(rig)
    for t, values in published(rig):
        grip = values[:, 6]
        assert ((grip >= 0.0) & (grip <= 1.0)).all()
        assert (np.abs(np.diff(grip)) <= np.diff(t) * (1 + ROUNDING) + 1e-12).all()


@RULES
@given(steps(JOINTS), st.lists(st.floats(-0.9, 0.9), min_size=4, max_size=4), limits)
def test_joints_stay_within_range_velocity_and_acceleration(
    sequence: list[Step], start: list[float], limits: Limits
) -> None:
    rig = GuardRig(JOINTS, ChunkTiming(2, 0.1, 0.1), limits)
    rig.guard.on_feedback(np.array(start))
    rig.arm()
    play(rig, sequence)
    assert not {"violation", "travel"} & set(rig.faults())
    for t, p in published(rig):
        for joint in p.T:
            judge_travel(t, np.abs(np.diff(joint)), 0.05 * 1.02, 0.5 * 1.02)
        assert (np.abs(p) <= 1.0 + 1e-9).all()
        dt = np.diff(t)
        moved = dt > 1e-5
        assert (np.diff(p, axis=0)[dt == 0] == 0).all()
        v = np.diff(p, axis=0)[moved] / dt[moved][:, None]
        assert (np.abs(v) <= 0.5 * (1 + ROUNDING) + 1e-9).all()
        if moved.all() and len(v) > 1:
            a = np.diff(v, axis=0) / ((dt[1:] + dt[:-1]) / 2)[:, None]
            assert (np.abs(a) <= 2.0 * (1 + ROUNDING) + 1e-13 / dt.min() ** 2).all()


@RULES
@given(steps(TWIST))
def test_the_brake_of_a_broken_clock_slows_by_a_tick_s_worth(sequence: list[Step]) -> None:
    rig = GuardRig(TWIST)
    rig.arm()
    play(rig, sequence)
    for _ in range(30):
        rig.health()
        rig.step(0.0)
    values = np.array([r.command.values for r in rig.results[-30:] if r.command is not None]).reshape(-1, 6)
    change = np.linalg.norm(np.diff(values[:, :3], axis=0), axis=1)
    assert (change <= DOWN * PERIOD_S * (1 + ROUNDING)).all()
    if len(values):
        assert not values[-1].any()


def silence(rig: GuardRig, seconds: float) -> None:
    """Time passes, and nobody says anything."""
    for _ in range(round(seconds / PERIOD_S)):
        rig.step()


def disagreeing_cameras(rig: GuardRig) -> None:
    now_ns = rig.clock.now_ns()
    cameras = [CameraHealth(i, 0, now_ns - seconds_to_ns(age_s)) for i, age_s in enumerate((0.02, 0.1))]
    rig.guard.on_health(Health(now_ns, StageTimes(), tuple(cameras)))


TRIGGERS: dict[str, Callable[[GuardRig], object]] = {
    "link_lost": lambda rig: rig.guard.on_link_lost("gone"),
    "link_silent": lambda rig: silence(rig, 0.3),
    "estop": lambda rig: rig.guard.on_estop(True),
    "frozen_frame": lambda rig: rig.health(frozen=True),
    "dark_frame": lambda rig: rig.health(dark=True),
    "frame_size": lambda rig: rig.health(size_changed=True),
    "stale_frame": lambda rig: rig.health(age_s=0.25),
    "camera_skew": disagreeing_cameras,
    "no_health": lambda rig: silence(rig, 0.6),
    "no_camera": lambda rig: rig.idle(IdleReason.NO_CAMERA),
    "no_state": lambda rig: rig.idle(IdleReason.NO_STATE),
    "peers": lambda rig: rig.guard.on_peers(False, "another publisher"),
    "wrong_bundle": lambda rig: rig.hello(bundle="00" * 32),
    "golden": lambda rig: rig.hello(golden_passed=False),
    "bad_chunk": lambda rig: [rig.chunk([math.nan] * len(rig.spec)) for _ in range(3)],
    "late_chunks": lambda rig: [rig.chunk([0.0] * len(rig.spec), age_s=0.15) for _ in range(3)],
    "stall": lambda rig: rig.clock.advance(0.5),
    "stale_chunk": lambda rig: silence(rig, 0.3),
}
# What their own tests provoke: switches and sensors that this robot has not, an error within, or a story.
ELSEWHERE = {
    *("deadman", "following", "no_feedback", "no_pose"),
    *("violation", "travel", "broken_clock"),
    *("seam", "excess", "instruction_expired"),
}
ENDINGS = TRIGGERS | {
    "the operator": lambda rig: rig.guard.disarm(),
    "no instruction": lambda rig: rig.guard.on_instruction(None),
}


def test_no_fault_is_forgotten_here() -> None:
    assert set(TRIGGERS) | ELSEWHERE == set(FAULTS)


@pytest.mark.parametrize("fault", TRIGGERS)
def test_what_is_provoked_is_found(fault: str) -> None:
    rig = GuardRig(TWIST)
    rig.arm()
    rig.run(1.0, [0.1, 0, 0, 0, 0, 0])
    TRIGGERS[fault](rig)
    rig.step()
    assert fault in rig.faults()


@pytest.mark.parametrize("fault", ENDINGS)
@settings(RULES, max_examples=15)
@given(
    actions=st.lists(st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6), min_size=1, max_size=12),
    ticks=st.integers(1, 12),
    after=st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6),
)
def test_after_any_fault_the_command_is_zero_within_half_a_second(
    fault: str, actions: list[list[float]], ticks: int, after: list[float]
) -> None:
    rig = GuardRig(TWIST)
    rig.arm()
    for each in actions[:9]:
        rig.health()
        rig.chunk(each)
        for _ in range(ticks):
            rig.step()
    ENDINGS[fault](rig)
    for k in range(50):
        if k % 10 == 0:
            rig.chunk(after)
        rig.step()
    last = rig.results[-1].command
    assert last is not None
    assert not last.values.any()
    judge_twist(rig)


@RULES
@given(steps(TWIST))
def test_only_armed_and_stopping_robots_are_told_anything(sequence: list[Step]) -> None:
    rig = GuardRig(TWIST)
    play(rig, sequence)
    armed = False
    for result in rig.results:
        armed = armed or any(e.kind == "state" and e.state is State.ARMED for e in result.events)
        assert armed or result.command is None
        if result.state is State.DISARMED and result.command is None:
            armed = False


@pytest.mark.parametrize("spec", [TWIST, DELTAS, JOINTS], ids=["velocities", "deltas", "positions"])
@settings(RULES, max_examples=15)
@given(
    period=st.integers(1, 30),
    back_and_forth=st.booleans(),
    jitter=st.lists(st.floats(0.001, 0.03), min_size=1, max_size=20),
)
def test_full_speed_is_legal_for_ever(spec: ActionSpec, period: int, back_and_forth: bool, jitter: list[float]) -> None:
    """Windowed travel takes nothing from a policy that only uses the speed it has."""
    rig = GuardRig(spec, limits=PATIENT)
    rig.guard.on_feedback(np.zeros(len(spec)))
    rig.arm()
    size = np.full(len(spec), 1.0 if spec is JOINTS else 0.25 / math.sqrt(3))
    for k in range(600):
        if k % 5 == 0:
            rig.health()
            sign = -1.0 if back_and_forth and (k // period) % 2 else 1.0
            rig.chunk(sign * size / (10.0 if spec is DELTAS else 1.0))
        rig.step(jitter[k % len(jitter)])
    assert rig.faults() == []
    assert rig.guard.state is State.ARMED


AXES = 0.3


@settings(RULES, max_examples=25)
@given(
    start=st.lists(st.floats(-AXES, AXES), min_size=3, max_size=3),
    actions=st.lists(st.lists(st.floats(-0.4, 0.4), min_size=6, max_size=6), min_size=1, max_size=16),
    ticks=st.lists(st.integers(1, 30), min_size=1, max_size=16),
    jitter=st.lists(st.floats(0.002, 0.02), min_size=1, max_size=20),
    delay=st.integers(0, 3),
)
def test_a_robot_that_does_what_it_is_told_never_leaves_the_box(
    start: list[float], actions: list[list[float]], ticks: list[int], jitter: list[float], delay: int
) -> None:
    box = Box("base", (-AXES, -AXES, -AXES), (AXES, AXES, AXES))
    patient = {"seam_ratio": 1e9, "excess_count": 1000, "excess_window": 1000, "workspace": box}
    rig = GuardRig(TWIST, limits=Limits.from_overrides(patient))
    way = [(rig.clock.now_ns(), np.array(start))] * (delay + 1)
    rig.guard.on_pose(way[0][1], way[0][0])
    rig.arm()
    velocity, count = np.zeros(3), 0
    for action, n in zip(actions, cycle(ticks), strict=False):
        rig.chunk(action)
        for k in range(n):
            if k % 10 == 0:
                rig.health()
            dt_s = jitter[count % len(jitter)]
            count += 1
            position = way[-1][1] + velocity * dt_s
            command = rig.step(dt_s).command
            velocity = np.zeros(3) if command is None else command.values[:3]
            way.append((rig.clock.now_ns(), position))
            rig.guard.on_pose(way[-1 - delay][1], way[-1 - delay][0])
            assert (np.abs(position) <= AXES + 1e-9).all()


@settings(RULES, max_examples=20)
@given(st.lists(st.tuples(st.sampled_from([True, True, True, False, None]), st.integers(1, 40)), max_size=20))
def test_a_robot_moves_only_while_the_switch_is_held(beats: list[tuple[bool | None, int]]) -> None:
    rig = GuardRig(TWIST, needs_deadman=True)
    rig.guard.on_deadman(True)
    rig.arm()
    held_ns = rig.clock.now_ns()
    released = False
    for held, ticks in beats:
        if held is not None:
            rig.guard.on_deadman(held)
            released = released or not held
            held_ns = rig.clock.now_ns() if held else held_ns
        for k in range(ticks):
            if k % 10 == 0:
                rig.health()
                rig.chunk([0.2, 0, 0, 0, 0, 0])
            rig.step()
            silent_s = (rig.clock.now_ns() - held_ns) / 1e9
            released = released or silent_s > 0.25
            if released:
                assert rig.guard.state is not State.ARMED
            # A stop from 0.25 m/s takes 0.4 s, and the grid of ticks 20 ms.
            command = rig.results[-1].command
            if silent_s > 0.25 + 0.42 and command is not None:
                assert not command.values.any()
    judge_twist(rig)


@pytest.mark.parametrize("fault", [f for f in ENDINGS if f != "stall"])
@settings(RULES, max_examples=10)
@given(
    targets=st.lists(st.lists(st.floats(-2, 2), min_size=4, max_size=4), min_size=1, max_size=8),
    ticks=st.integers(1, 12),
)
def test_after_any_fault_joints_hold_within_half_a_second(fault: str, targets: list[list[float]], ticks: int) -> None:
    rig = GuardRig(JOINTS, ChunkTiming(1, 0.1, 0.1), PATIENT)
    rig.guard.on_feedback(np.zeros(4))
    rig.arm()
    for each in targets:
        rig.health()
        rig.chunk(each)
        for _ in range(ticks):
            rig.step()
    at_fault = rig.results[-1].shaped
    ENDINGS[fault](rig)
    for _ in range(60):
        rig.step()
    held = np.array([r.shaped for r in rig.results[-10:]])
    assert (held == held[0]).all()
    # Not zero, which is a motion: where a stop from 0.5 rad/s ends at the latest.
    assert (np.abs(held[0] - at_fault) <= 0.5 * (0.25 / 2 + 0.15) + 0.5 * 0.02).all()


@RULES
@given(steps(TWIST))
def test_only_a_reset_leads_out_of_latched(sequence: list[Step]) -> None:
    rig = GuardRig(TWIST)
    rig.arm()
    play(rig, sequence)
    changes = [e for e in rig.events if e.kind == "state"]
    for before, after in pairwise(changes):
        if before.state is State.LATCHED:
            assert (after.state, after.reason) == (State.DISARMED, "reset by the operator")
