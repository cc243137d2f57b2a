"""Judges published commands and their times: numpy differences and the numbers of docs/SAFETY.md, nothing of jetvla.

A command is a row of numbers; what they mean is said by :class:`Group`. What no command can show (that the robot was at
rest where it says, and when it was told to stop) comes with the tape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RELATIVE = 1e-6
# Numbers of about 1 carry 1e-16; each division by a time step makes more of it.
ROUNDING = 4e-15
TRAVEL_SLACK = 1.02
STALL_PERIODS = 3.0


@dataclass(frozen=True)
class Group:
    """Columns that are limited by their norm: velocities, or positions whose derivatives are meant.

    Attributes:
        low: smallest value of every column.
    """

    columns: tuple[int, ...]
    position: bool
    velocity: float
    acceleration: float
    deceleration: float
    jerk: float
    low: float = -np.inf
    high: float = np.inf

    @property
    def stop_s(self) -> float:
        return self.velocity / self.deceleration + (self.acceleration + self.deceleration) / self.jerk


@dataclass
class Tape:
    """One episode.

    Attributes:
        period_s: of the guard's ticks.
        groups: all columns.
        t_ns: of every tick.
        values: of every tick; None where nothing was published.
        armed: numbers of the ticks before which arming was granted, with what feedback said then.
        stopped: numbers of the ticks before which the robot was told to stop, for good.
        rest_s: zeros after a stop.
        box: half the edge of the workspace, which columns 0, 1, 2 must keep; None without.
        start: where the tool was at first.
    """

    period_s: float
    groups: tuple[Group, ...]
    rest_s: float
    t_ns: list[int] = field(default_factory=list)
    values: list[Array | None] = field(default_factory=list)
    armed: dict[int, Array] = field(default_factory=dict)
    stopped: list[int] = field(default_factory=list)
    box: float | None = None
    start: Array = field(default_factory=lambda: np.zeros(3))


def violations(tape: Tape) -> list[str]:
    """Everything that is wrong with ``tape``; empty if nothing is."""
    found = list(_permission(tape))
    for first, t, values in _runs(tape):
        if not np.isfinite(values).all():
            found.append(f"tick {first}: a number that is not finite")
            continue
        for group in tape.groups:
            found += _ranges(first, values, group)
            found += _rates(first, t, values, group, tape)
            found += _travel(first, t, values, group)
    found += _stops(tape)
    found += _box(tape)
    return found


def _runs(tape: Tape) -> Iterator[tuple[int, Array, Array]]:
    """Number of the first tick, seconds [n] and values [n, D] of every stretch without a gap."""
    told = np.array([v is not None for v in tape.values])
    edges = np.flatnonzero(np.diff(np.concatenate([[False], told, [False]]).astype(int)))
    for first, end in edges.reshape(-1, 2):
        rows = [v for v in tape.values[first:end] if v is not None]
        # Arming anew while the zeros of the last stop are still sent starts another stretch.
        cuts = [k for k in sorted(tape.armed) if first < k < end]
        for a, b in zip([first, *cuts], [*cuts, end], strict=True):
            yield a, np.array(tape.t_ns[a:b]) / 1e9, np.array(rows[a - first : b - first])


def _permission(tape: Tape) -> Iterator[str]:
    """Nothing is published before arming, nor for long after a stop."""
    first = min(tape.armed, default=len(tape.t_ns))
    if any(v is not None for v in tape.values[:first]):
        yield f"tick {first}: published before it was ever armed"
    longest = max(g.stop_s for g in tape.groups) + tape.rest_s + 10 * STALL_PERIODS * tape.period_s
    for k in tape.stopped:
        until = min((a for a in tape.armed if a > k), default=len(tape.t_ns))
        # A stall is no time in which the robot is slowed down.
        t = _effective(np.array(tape.t_ns[max(k - 1, 0) : until]) / 1e9, tape.period_s)
        late = [i for i in range(k, until) if tape.values[i] is not None and t[i - max(k - 1, 0)] > longest]
        if late:
            yield f"tick {late[0]}: still published, stopped at tick {k}"


def _effective(t: Array, period_s: float) -> Array:
    steps = np.minimum(np.diff(t), STALL_PERIODS * period_s)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _ranges(first: int, values: Array, group: Group) -> Iterator[str]:
    x = values[:, group.columns]
    bad = np.flatnonzero(((x < group.low - 1e-9) | (x > group.high + 1e-9)).any(axis=1))
    if len(bad):
        yield f"tick {first + bad[0]}: {x[bad[0]]} outside {group.low} to {group.high}"


def _rates(first: int, t: Array, values: Array, group: Group, tape: Tape) -> Iterator[str]:
    """From rest: two samples of it are put before the first command."""
    x, period = values[:, group.columns], tape.period_s
    step_s = (tape.t_ns[first] - tape.t_ns[first - 1]) / 1e9 if first else period
    step_s = min(step_s, STALL_PERIODS * period)
    t = np.concatenate([[-step_s - period, -step_s], _effective(t, period)])
    rest = _at_rest(first, x, group, tape)
    x = np.concatenate([[rest, rest], x])
    dt = np.diff(t)
    shortest = np.minimum.reduce([dt[2:], dt[1:-1], dt[:-2]])
    v, v_noise = x[1:], np.full(len(dt), ROUNDING)
    between = dt[1:]
    if group.position:
        v = np.diff(x, axis=0) / dt[:, None]
        v_noise = ROUNDING / dt
        between = (dt[1:] + dt[:-1]) / 2
    speed = np.linalg.norm(v, axis=1)
    a = np.diff(v, axis=0) / between[:, None]
    a_noise = 2 * np.maximum(v_noise[1:], v_noise[:-1]) / np.minimum(dt[1:], dt[:-1])
    thirds = (dt[2:] + dt[1:-1] + dt[:-2]) / 3
    apart = thirds if group.position else (dt[2:] + dt[1:-1]) / 2
    j = np.linalg.norm(np.diff(a, axis=0), axis=1) / apart
    j_noise = 4 * ROUNDING / shortest ** (3 if group.position else 2)
    for name, value, limit, noise, offset in (
        ("velocity", speed, group.velocity, v_noise, 1),
        ("acceleration", np.diff(speed) / between, group.acceleration, a_noise, 2),
        ("deceleration", np.linalg.norm(a, axis=1), group.deceleration, a_noise, 2),
        ("jerk", j, group.jerk, j_noise, 3),
    ):
        bad = np.flatnonzero(value > limit * (1 + RELATIVE) + noise)
        if len(bad):
            k = int(bad[0])
            yield f"tick {first + k + offset - 2}: {name} {value[k]:.6g} of {group.columns}, above {limit:g}"


def _at_rest(first: int, x: Array, group: Group, tape: Tape) -> Array:
    """Where the robot was at rest before its first command: velocity 0, or the position of the feedback."""
    if not group.position:
        return np.zeros(x.shape[1])
    fed: Array = tape.armed.get(first, np.full(1 + max(group.columns), np.nan))[list(group.columns)]
    return np.where(np.isfinite(fed), fed, x[0])


def _travel(first: int, t: Array, values: Array, group: Group) -> Iterator[str]:
    """In real time: a velocity is in force until the next command, stall or not."""
    x = values[:, group.columns]
    way = np.linalg.norm(np.diff(x, axis=0), axis=1)
    if not group.position:
        way = np.linalg.norm(x[:-1], axis=1) * np.diff(t)
    so_far = np.concatenate([[0.0], np.cumsum(way)])
    for span in (0.1, 1.0):
        within = so_far - np.interp(t - span, t, so_far)
        bad = np.flatnonzero(within > TRAVEL_SLACK * group.velocity * span + 1e-12)
        if len(bad):
            yield f"tick {first + bad[0]}: {within[bad[0]]:.6g} of {group.columns} within {span:g} s"


def _stops(tape: Tape) -> Iterator[str]:
    """After a stop every velocity is zero, and every position stays, until arming."""
    for k in tape.stopped:
        until = min((a for a in tape.armed if a > k), default=len(tape.t_ns))
        t = _effective(np.array(tape.t_ns[max(k - 1, 0) : until]) / 1e9, tape.period_s)
        for group in tape.groups:
            limit = group.stop_s + 2 * STALL_PERIODS * tape.period_s
            after = [tape.values[i] for i in range(k, until) if t[i - max(k - 1, 0)] > limit]
            x = np.array([v[list(group.columns)] for v in after if v is not None])
            if len(x) and (x != (x[0] if group.position else 0.0)).any():
                yield f"tick {k}: told to stop, and {group.columns} still moves {limit:.3f} s later"


def _box(tape: Tape) -> Iterator[str]:
    """A robot that does what it is told, from command to command."""
    if tape.box is None:
        return
    position = tape.start.copy()
    for k in range(1, len(tape.t_ns)):
        last = tape.values[k - 1]
        if last is not None:
            if tape.groups[0].position:
                position = last[:3]
            else:
                position = position + last[:3] * (tape.t_ns[k] - tape.t_ns[k - 1]) / 1e9
        if (np.abs(position) > tape.box + 1e-9).any():
            yield f"tick {k}: the tool is at {position}, outside {tape.box:g}"
            return
