"""How step time, age and memory grow with what a policy sees and gives, and the builder's memory with its samples.

Every policy has random weights and is built, in FP32, as any other; then the real policy process runs it on generated
pictures at 30 Hz. Age is what a chunk has when it comes to the guard's end of the link. A machine drifts: all policies
are run in turns, :data:`ROUNDS` times.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from jetvla.engines.bench.sizes import act, build_random, end_to_end
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.link.protocol import ChunkMessage, Health
from jetvla.services.bench.answers import Answers, answers
from jetvla.services.bench.site import site
from jetvla.services.resident import Resident

CHUNKS = 20
ROUNDS = 3
NS_PER_MS = 1e6

Axis = Literal["cameras", "chunk", "text", "size", "calibration"]
TITLES: dict[Axis, str] = {
    "cameras": "cameras (ACT, 224², chunk of 20)",
    "chunk": "actions in a chunk (ACT, one camera)",
    "text": "tokens of the text (end to end, 192 wide)",
    "size": "width (end to end, 32 tokens; 768 is the base size)",
    "calibration": "calibration samples (table robot)",
}


@dataclass(frozen=True)
class Point:
    """One measured policy, or build.

    Attributes:
        value: of its axis.
        step_ms, age_ms: medians, of the step, and from frame to guard; None for a build.
        memory_mb: proportional set size of the policy process, or the most that the builder ever had resident.
        turn: which run of it, from 0.
        day: when, ISO 8601.
    """

    axis: Axis
    value: int
    step_ms: float | None
    age_ms: float | None
    memory_mb: float
    turn: int = 0
    day: str = ""

    def __str__(self) -> str:
        times = "" if self.step_ms is None else f"step {self.step_ms:.1f} ms, age {self.age_ms:.1f} ms, "
        return f"{self.axis} {self.value}: {times}{self.memory_mb:.0f} MB"


_HIGH_WATER = re.compile(rb"^VmHWM:\s*(\d+) kB", re.MULTILINE)
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Case:
    """Points to measure, ``turns`` of them."""

    axis: Axis
    value: int
    measure: Callable[[], Point]
    turns: int = ROUNDS


def cases(episodes: Path, checkpoint: Path, bundles: Path) -> list[Case]:
    """All of them; ``episodes`` are recordings that calibrate ``checkpoint``, policies are built in ``bundles``."""
    policies: list[tuple[Axis, int, dict[str, Any]]] = [
        *(("cameras", number, act(number, 20)) for number in (1, 2, 3, 4)),
        *(("chunk", number, act(1, number)) for number in (1, 50, 100)),
        *(("text", number, end_to_end(192, 12, number)) for number in (16, 32, 64)),
        *(("size", width, end_to_end(width, layers, 32)) for width, layers in ((64, 4), (192, 12), (768, 12))),
    ]
    found = [Case(axis, value, _policy(axis, value, config, bundles)) for axis, value, config in policies]
    # A build's memory does not depend on how fast the machine is.
    found += [Case("calibration", n, _build(episodes, checkpoint, n), turns=1) for n in (64, 512, 4096)]
    return found


def _policy(axis: Axis, value: int, config: dict[str, Any], bundles: Path) -> Callable[[], Point]:
    def measure() -> Point:
        bundle = bundles / f"{axis}-{value}"
        if not bundle.exists():
            bundles.mkdir(parents=True, exist_ok=True)
            build_random(config, bundle)
        with (
            TemporaryDirectory(prefix="jetvla-growth-") as engines,
            site(bundle, Path(engines)) as place,
            answers(place) as policy,
        ):
            steps, ages = _watched(policy)
            resident = Resident.of(policy.pid)
        return Point(axis, value, float(np.median(steps)), float(np.median(ages)), resident.pss)

    return measure


def _watched(policy: Answers) -> tuple[list[float], list[float]]:
    """Step times and ages of :data:`CHUNKS` chunks, milliseconds, after as many to warm up."""
    steps: list[float] = []
    ages: list[float] = []
    while len(steps) < 2 * CHUNKS:
        for event in policy.wait():
            if isinstance(event, ChunkMessage):
                ages.append((time.monotonic_ns() - event.t0_ns) / NS_PER_MS)
            elif isinstance(event, Health) and len(ages) > len(steps):
                steps.append(event.stages.step / NS_PER_MS)
    return steps[CHUNKS:], ages[CHUNKS:]


def _build(episodes: Path, checkpoint: Path, samples: int) -> Callable[[], Point]:
    def measure() -> Point:
        with TemporaryDirectory(prefix="jetvla-growth-") as name:
            options = ["--precision", "int8", "--samples", str(samples), "-o", f"{name}/bundle"]
            command = [sys.executable, "-m", "jetvla.services", "build", str(checkpoint), "--episodes", str(episodes)]
            process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
            peak_mb = _peak_mb(process)
        if process.returncode != 0:
            raise JetvlaError(f"the build with {samples} samples failed; its message is above")
        return Point("calibration", samples, None, None, peak_mb)

    return measure


def _peak_mb(process: subprocess.Popen[bytes]) -> float:
    """The most that a process ever had resident, when it has ended.

    Asked while it runs: what the kernel tells afterwards (``ru_maxrss``) is at least what its parent had before it.
    """
    peak_kb = 0
    while process.poll() is None:
        with suppress(OSError):
            found = _HIGH_WATER.search(Path(f"/proc/{process.pid}/status").read_bytes())
            peak_kb = max(peak_kb, int(found[1]) if found else 0)
        time.sleep(_LOOK_EVERY_S)
    return peak_kb * 1024 / 1e6


def grow(wanted: Sequence[Case], kept: Path, say: Callable[[str], None]) -> list[Point]:
    """Measure every case in turns that the file ``kept`` has not yet, and write each one there as soon as it is known.

    A file that has all of them is measured anew.
    """
    turns = [(turn, case) for turn in range(ROUNDS) for case in wanted if turn < case.turns]
    points = _read(kept)
    if {(case.axis, case.value, turn) for turn, case in turns} <= {(p.axis, p.value, p.turn) for p in points}:
        points = []
    for turn, case in turns:
        if any((p.axis, p.value, p.turn) == (case.axis, case.value, turn) for p in points):
            continue
        point = replace(case.measure(), turn=turn, day=f"{datetime.now():%Y-%m-%d}")
        points.append(point)
        _write(points, kept)
        say(str(point))
    return points


_POINTS = TypeAdapter(list[Point])


def _read(path: Path) -> list[Point]:
    if not path.is_file():
        return []
    try:
        return _POINTS.validate_json(path.read_bytes())
    except ValidationError as error:
        raise JetvlaError(f"{path} holds no points of this version; remove it and measure again") from error


def _write(points: list[Point], path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(_POINTS.dump_json(points, indent=1))
    partial.replace(path)
