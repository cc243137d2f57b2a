"""Whatever chunks a policy sends and however they are merged: what is published stays within the limits and is smooth.

The judge is numpy on the published commands; it shares no code with the guard. Ticks are regular here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.contracts import ActionChunk
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import BUNDLE, GuardRig
from jetvla.runtime.manifest import Execution

Array = NDArray[np.float64]

PERIOD_S = 0.01
EXECUTIONS: tuple[Execution, ...] = ("latest", "temporal_ensemble", "blend")
RULES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Seams that latch end a sequence early; without them chunks go on moving the robot however they jump.
FREE = Limits(seam_m=1e9, seam_rad=1e9, seam_ratio=1e9)


def axis(name: str) -> ActionDimension:
    return ActionDimension(name=name, quantity="linear", unit="m/s", semantics="velocity", frame="base")


def joint(name: str) -> ActionDimension:
    return ActionDimension(name=name, quantity="joint", unit="rad", semantics="absolute", range=(-1.0, 1.0))


MIXED = ActionSpec(dimensions=(axis("x"), axis("y"), axis("z"), joint("j1"), joint("j2")))
JOINT = ActionSpec(dimensions=(joint("j1"),))
AXIS = ActionSpec(dimensions=(axis("x"),))

number = st.one_of(
    st.floats(-0.375, 0.375, width=32),
    st.floats(-0.375, 0.375, width=32),
    st.sampled_from([0.0, 1e-45, 3.4e38, -3.4e38, math.nan, math.inf]),
)
rows = st.lists(st.lists(number, min_size=5, max_size=5), min_size=1, max_size=5)
age_s = st.one_of(st.floats(0.0, 0.15), st.sampled_from([-0.5, -0.004, 0.0, 0.2, 0.39, 0.41, 5.0]))
chunk = st.tuples(st.just("chunk"), rows, age_s, st.sampled_from([1.0, 1.0, 1.0, 1.009, 0.0, -1.0, 3.0]))
step = st.one_of(
    chunk,
    chunk,
    st.tuples(st.just("flood"), rows, st.integers(2, 60)),
    st.tuples(st.just("ticks"), st.integers(1, 30)),
    st.tuples(st.just("ticks"), st.integers(1, 30)),
    st.sampled_from([("idle",), ("say",), ("same",)]),
)


def send(rig: GuardRig, actions: list[list[float]] | Array, age_s: float, dt_ratio: float = 1.0, seq: int = 0) -> None:
    """A chunk of any rows, age and time step."""
    t0_ns = rig.clock.now_ns() - seconds_to_ns(age_s)
    dt_ns = seconds_to_ns(rig.timing.dt_s * dt_ratio)
    array = np.array(actions, np.float32)
    rig.guard.on_chunk(ActionChunk(array, t0_ns, dt_ns, rig.instruction.id, BUNDLE, seq))


def tick(rig: GuardRig, times: int) -> None:
    """Ticks of a robot that follows, with a healthy policy."""
    for _ in range(times):
        rig.health()
        rig.step()
        rig.guard.on_feedback(rig.results[-1].shaped)


def play(rig: GuardRig, sequence: list[tuple[object, ...]]) -> None:
    actions: dict[object, Callable[..., object]] = {
        "chunk": lambda actions, age_s, ratio: send(rig, actions, age_s, ratio),
        "flood": lambda actions, count: [send(rig, actions, 0.0, seq=k) for k in range(count)],
        "ticks": lambda count: tick(rig, count),
        "idle": rig.idle,
        "say": lambda: rig.say(f"words {rig.clock.now_ns()}"),
        "same": lambda: rig.say(rig.instruction.text),
    }
    for name, *arguments in sequence:
        actions[name](*arguments)


def judge(velocity: Array, limits: tuple[float, float, float, float]) -> None:
    """Velocity vectors [n, k], one per period and from rest: speed, gain of speed, change, change of change."""
    speed, up, down, jerk = (limit * (1 + 1e-6) + 1e-9 for limit in limits)
    assert np.isfinite(velocity).all()
    rest = np.zeros((2, velocity.shape[1]))
    v = np.concatenate([rest, velocity])
    a = np.diff(v, axis=0) / PERIOD_S
    size = np.linalg.norm(v, axis=1)
    assert (size <= speed).all()
    assert (np.diff(size) / PERIOD_S <= up).all()
    assert (np.linalg.norm(a, axis=1) <= down).all()
    # Positions of about 1 carry 1e-16 of rounding, which three differences make 1e-10.
    assert (np.linalg.norm(np.diff(a, axis=0), axis=1) / PERIOD_S <= jerk + 1e-8).all()


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("limits", [Limits(), FREE], ids=["seams judged", "seams free"])
@RULES
@given(sequence=st.lists(step, min_size=3, max_size=25), start=st.floats(-0.9, 0.9))
def test_any_sequence_of_chunks_stays_within_the_limits(
    execution: Execution, limits: Limits, sequence: list[tuple[object, ...]], start: float
) -> None:
    rig = GuardRig(MIXED, ChunkTiming(4, 0.1, 0.1, execution), limits)
    feedback = np.array([math.nan, math.nan, math.nan, start, 0.0])
    rig.guard.on_feedback(feedback)
    rig.arm()
    play(rig, sequence)
    tick(rig, 5)
    assert not {"violation", "travel"} & set(rig.faults())
    commands = rig.commands()
    judge(commands[:, :3], (0.25, 0.5, 1.0, 10.0))
    positions = np.concatenate([[feedback[3:]], commands[:, 3:]])
    assert (np.abs(positions) <= 1.0 + 1e-9).all()
    for column in positions.T:
        judge(np.diff(column)[:, None] / PERIOD_S, (0.5, 2.0, 2.0, 20.0))


@pytest.mark.parametrize("execution", EXECUTIONS)
@RULES
@given(
    first=st.floats(-0.375, 0.375, width=32),
    second=st.floats(-0.375, 0.375, width=32),
    ticks=st.integers(1, 5),
    rows=st.integers(1, 4),
)
def test_a_seam_latches_if_and_only_if_it_is_beyond_its_limit(
    execution: Execution, first: float, second: float, ticks: int, rows: int
) -> None:
    rig = GuardRig(JOINT, ChunkTiming(4, 0.1, 0.1, execution))
    rig.guard.on_feedback(np.zeros(1))
    rig.arm()
    send(rig, [[first]] * rows, 0.0)
    tick(rig, ticks)
    send(rig, [[second]] * rows, 0.0)
    tick(rig, 1)
    jump = abs(float(np.float32(second)) - float(np.float32(first)))
    assert (rig.guard.state is State.LATCHED) == (jump > 0.3)
    assert ("seam" in rig.faults()) == (jump > 0.3)


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_seam_is_recorded_but_no_fault_before_arming(execution: Execution) -> None:
    rig = GuardRig(JOINT, ChunkTiming(4, 0.1, 0.1, execution))
    rig.guard.on_feedback(np.zeros(1))
    rig.ready()
    for action in (0.0, 0.5):
        send(rig, [[action]], 0.0)
        tick(rig, 2)
    assert rig.guard.state is State.DISARMED
    (event,) = [e for e in rig.events if e.kind == "reject"]
    assert event.reason.endswith("j1 would jump by 0.5 rad; at most 0.3")
    assert rig.guard.arm() == ()
    send(rig, [[-0.5]], 0.0)
    tick(rig, 2)
    assert rig.faults() == []
    assert rig.results[-1].verdict.reason == "policy"


@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_latching_seam_brings_the_robot_to_rest_without_obeying_the_new_chunk(execution: Execution) -> None:
    rig = GuardRig(AXIS, ChunkTiming(4, 0.1, 0.1, execution))
    rig.arm()
    for _ in range(10):
        send(rig, [[0.1]] * 4, 0.0)
        tick(rig, 10)
    send(rig, [[-0.1]] * 4, 0.0)
    tick(rig, 60)
    assert rig.guard.latched_by.startswith("seam: chunk 0 does not continue the one in use: x would jump by 0.2 m/s")
    speeds = rig.commands()[-60:, 0]
    assert (np.diff(speeds) <= 0).all()
    assert (speeds >= 0).all()
    assert speeds[-1] == 0.0


# Smoothness. Policy and guard keep their own time.


def follow(rig: GuardRig, path: Callable[[Array], Array], latency_s: float, seconds: float, noise: float) -> Array:
    """Commands [n] of a policy that answers every ``replan_s`` with ``path`` at its rows' times, ``noise`` aside."""
    period_s, horizon = rig.timing.replan_s, rig.timing.horizon
    next_s, sign = 0.0, 1.0
    for n in range(round(seconds / PERIOD_S)):
        now_s = n * PERIOD_S
        if now_s >= next_s - 1e-9:
            times = now_s - latency_s + rig.timing.dt_s * np.arange(horizon)
            send(rig, (path(times) + sign * noise)[:, None], latency_s)
            next_s, sign = next_s + period_s, -sign
        tick(rig, 1)
    assert rig.faults() == []
    return rig.commands()[:, 0]


def roughness(values: Array, order: int) -> float:
    """Root mean square of the derivative of ``order``, after the first second."""
    return float(np.sqrt(np.mean(np.square(np.diff(values[100:], order) / PERIOD_S**order))))


def test_a_policy_of_5_hz_drives_a_guard_of_100_hz_smoothly() -> None:
    commands = {}
    for execution in EXECUTIONS:
        rig = GuardRig(AXIS, ChunkTiming(1, 0.2, 0.2, execution))
        rig.arm()
        commands[execution] = follow(rig, lambda t: 0.05 * np.sin(2 * np.pi * 0.3 * t), 0.05, 8.0, 0.0)
        judge(commands[execution][:, None], (0.25, 0.5, 1.0, 10.0))
        # Held for 0.2 s and 0.05 s late: the middle of a step is 0.15 s old, and a fade adds half of its length.
        now = np.arange(len(commands[execution])) * PERIOD_S
        late = 0.05 * np.sin(2 * np.pi * 0.3 * (now - (0.25 if execution == "blend" else 0.2)))
        assert np.abs(commands[execution] - late)[100:].max() < 0.015
    np.testing.assert_array_equal(commands["temporal_ensemble"], commands["latest"])
    # Measured: 0.54 of the jerk and 0.32 of its change, for a fade has no stairs.
    assert roughness(commands["blend"], 2) < 0.7 * roughness(commands["latest"], 2)
    assert roughness(commands["blend"], 3) < 0.5 * roughness(commands["latest"], 3)


def test_chunks_of_20_steps_at_30_hz_drive_a_guard_of_100_hz_smoothly() -> None:
    path = lambda t: 0.3 * np.sin(2 * np.pi * 0.15 * t)  # noqa: E731
    acceleration, jerk = {}, {}
    for execution in EXECUTIONS:
        rig = GuardRig(JOINT, ChunkTiming(20, 1 / 30, 0.2, execution))
        rig.guard.on_feedback(np.zeros(1))
        rig.arm()
        commands = follow(rig, path, 0.12, 8.0, noise=0.02)
        judge(np.diff(commands, prepend=0.0)[:, None] / PERIOD_S, (0.5, 2.0, 2.0, 20.0))
        now = np.arange(1, len(commands) + 1) * PERIOD_S
        assert np.abs(commands - path(now))[100:].max() < 0.09
        acceleration[execution], jerk[execution] = roughness(commands, 2), roughness(commands, 3)
    # Measured: 0.67 and 0.70. A fade of 0.1 s is faster than this joint may be, so it changes little here.
    assert acceleration["temporal_ensemble"] < 0.8 * acceleration["latest"]
    assert jerk["temporal_ensemble"] < 0.8 * jerk["latest"]
    assert jerk["blend"] < 1.2 * jerk["latest"]
