"""From the figures of every measurement to what they say of the goals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from jetvla.engines.bench.choice import Choice
from jetvla.engines.bench.fidelity import COMPILED_WAY, DEFAULT_WAY, Fidelity
from jetvla.engines.bench.jitter import GUARD_WAY, Jitter
from jetvla.engines.bench.overhead import Overhead
from jetvla.engines.bench.speed import Row, Speed
from jetvla.engines.bench.turns import ACCEPTED
from jetvla.runtime.errors import JetvlaError
from jetvla.services.bench import beside, goals, start
from jetvla.services.bench.beside import Beside
from jetvla.services.bench.goals import Goal, Measured
from jetvla.services.bench.memory import TURNS, Memory
from jetvla.services.bench.start import ColdStart


@dataclass(frozen=True)
class Results:
    """One field for each measurement, named as its file; None where it was not made."""

    speed: Speed | None = None
    fidelity: tuple[Fidelity, ...] | None = None
    choice: Choice | None = None
    overhead: Overhead | None = None
    jitter: tuple[Jitter, ...] | None = None
    beside: Beside | None = None
    start: ColdStart | None = None
    memory: Memory | None = None

    @classmethod
    def files(cls, folder: Path) -> dict[str, Path]:
        """The files that are there, by field."""
        named = {field.name: folder / f"{field.name}.json" for field in fields(cls)}
        return {name: path for name, path in named.items() if path.is_file()}

    @classmethod
    def read(cls, folder: Path) -> Results:
        """The files of ``folder``; JetvlaError if there is none, or one is of another version."""
        hints, found = get_type_hints(cls), cls.files(folder)
        if not found:
            raise JetvlaError(f"{folder} holds no figures; make them with 'make bench'")
        return cls(**{name: _read(path, hints[name]) for name, path in found.items()})

    def measured(self) -> Mapping[Goal, Measured]:
        """What is known of each goal."""
        found: dict[Goal, Measured] = {}
        if self.speed is not None:
            found |= _of_speed(self.speed, self.fidelity or ())
        if self.choice is not None:
            found[goals.CHOICE] = _of_choice(self.choice)
        if self.overhead is not None:
            found[goals.OVERHEAD] = _of_overhead(self.overhead)
        if self.jitter is not None:
            found[goals.WAKE] = _of_jitter(self.jitter)
        if self.beside is not None:
            found[goals.BESIDE] = _of_beside(self.beside)
        if self.start is not None:
            found[goals.START] = _of_start(self.start)
        if self.memory is not None:
            found |= _of_memory(self.memory)
        return found


def _read(path: Path, kind: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        raise JetvlaError(
            f"{path} is no result of this version ({error.error_count()} mistakes); measure again"
        ) from error


def _of_speed(speed: Speed, fidelity: tuple[Fidelity, ...]) -> dict[Goal, Measured]:
    tokens = f"padded to the graph's length the course takes {_ms(speed.padded.ms)}"
    share, errors = _errors(fidelity)
    return {
        goals.FP32: _of_row(speed, speed.fp32, (speed.fp32.error,), tokens),
        goals.INT8_COMPILED: _of_row(
            speed,
            speed.compiled,
            (share,),
            f"{errors}; the reference size with random weights {speed.compiled.error:.1e}, {speed.default.error:.1e}",
        ),
        goals.INT8_PORTABLE: _of_row(speed, speed.portable, (), tokens),
    }


def _errors(fidelity: tuple[Fidelity, ...]) -> tuple[float, str]:
    """The compiled graph's error as a share of the default quantizer's, of a trained policy: speed may be that of
    random weights, fidelity may not. NaN if it was not measured."""
    compiled = next((row for row in fidelity if row.way.startswith(COMPILED_WAY)), None)
    default = next((row for row in fidelity if row.way == DEFAULT_WAY), None)
    if compiled is None or default is None:
        return math.nan, "the error of a trained policy was not measured"
    return compiled.mean / default.mean, (
        f"mean action error of the trained table robot {compiled.mean:.2%} of range, the default quantizer's "
        f"{default.mean:.2%}"
    )


def _of_row(speed: Speed, row: Row, more: tuple[float, ...], note: str) -> Measured:
    samples = min(row.accepted, speed.course.accepted)
    values = (row.ratio, *more)
    return Measured(values, _ms(row.ms), _ms(speed.course.ms), samples, ACCEPTED, note)


def _of_choice(choice: Choice) -> Measured:
    samples = min(c.accepted for c in choice.candidates)
    ours, best = (f"{c.name}, {_ms(c.ms)}" for c in (choice.pick, choice.best))
    return Measured(
        (choice.ratio,), ours, best, samples, ACCEPTED, f"{len(choice.candidates)} candidates compute right"
    )


def _of_overhead(overhead: Overhead) -> Measured:
    fast, course, exact = overhead.fast, overhead.course, overhead.exact
    note = (
        f"with Pillow's resize, bit for bit, {exact.p50_ms:.2f} / {exact.p99_ms:.2f} ms; "
        f"the course in its own order of transforms {overhead.tensors.p50_ms:.2f} / {overhead.tensors.p99_ms:.2f} ms"
    )
    return Measured(
        (fast.p50_ms, fast.p99_ms, course.p50_ms / fast.p50_ms),
        f"{fast.p50_ms:.2f} / {fast.p99_ms:.2f} ms",
        f"{course.p50_ms:.2f} / {course.p99_ms:.2f} ms",
        min(cost.accepted for cost in overhead.costs),
        ACCEPTED,
        note,
    )


def _of_jitter(rows: tuple[Jitter, ...]) -> Measured:
    ours = next(row for row in rows if row.way == GUARD_WAY)
    naive = next(row for row in rows if row.way != GUARD_WAY)
    return Measured(
        (ours.p99_us,),
        f"{ours.p99_us:.0f} µs, {ours.scheduling}",
        f"{naive.p99_us:.0f} µs in a thread beside the policy",
        ours.ticks,
        ACCEPTED,
        f"the guard's core in a process of its own; {ours.ticks} ticks, p50 {ours.p50_us:.0f} and at most "
        f"{ours.max_us:.0f} µs; the host of this machine took {ours.stolen_ms:.0f} ms of its processors meanwhile",
    )


def _of_beside(found: Beside) -> Measured:
    low, high = ((bound - 1) * 100 for bound in (found.ratio.low, found.ratio.high))
    return Measured(
        ((found.ratio.value - 1) * 100,),
        f"{_ms(found.guarded.ms)} with",
        f"{_ms(found.alone.ms)} without",
        min(found.guarded.accepted, found.alone.accepted),
        beside.ACCEPTED,
        f"95 % of a bootstrap from {low:.1f} to {high:.1f} %; the guard ticked {found.ticks} times, {found.scheduling}",
    )


def _of_start(found: ColdStart) -> Measured:
    return Measured(
        (found.ratio.value,),
        f"{found.ours.median_s:.2f} s",
        f"{found.course.median_s:.2f} s",
        min(found.ours.accepted, found.course.accepted),
        start.ACCEPTED,
        f"{found.ours.least_s:.2f} to {found.ours.most_s:.2f} s, from the policy's start to its first chunk beside a "
        "guard that is there already, the whole bundle verified and the self-test passed; "
        f"the course {found.course.least_s:.2f} to {found.course.most_s:.2f} s",
    )


def _of_memory(memory: Memory) -> dict[Goal, Measured]:
    guard, policy, course = memory.guard, memory.policy, memory.course
    both = f"{policy.pss:.0f} MB policy, {guard.pss:.0f} MB guard"
    note = f"PSS; RSS {policy.rss:.0f}, {guard.rss:.0f} and {course.rss:.0f} MB"
    return {
        goals.MEMORY: Measured((memory.ratio,), both, f"{course.pss:.0f} MB", memory.turns, TURNS, note),
        goals.GUARD_MEMORY: Measured(
            (guard.rss,), f"{guard.rss:.0f} MB", "", memory.turns, TURNS, f"RSS; {guard.anonymous:.0f} MB in no file"
        ),
    }


def _ms(ms: float) -> str:
    return f"{ms:.1f} ms"
