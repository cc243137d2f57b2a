"""What each execution makes of one recorded sequence of chunks: jumps of the request, acceleration and jerk of the
commands.

The policy answers recorded frames, so what it sees does not depend on what the guard sends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes import Episode
from jetvla.engines.observations import RecordedSamples
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock, seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Instruction
from jetvla.runtime.errors import EpisodeError
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.motion import Motion
from jetvla.runtime.guard.source import RequestSource
from jetvla.runtime.manifest import Execution
from jetvla.runtime.policy.model import Model, Variant

Array = NDArray[np.float64]
TICK_S = 0.01
RATES = ("linear", "angular", "joint", "prismatic", "gripper")
_BEGIN_NS = seconds_to_ns(1.0)
_SENTENCE = Instruction.of("go on", _BEGIN_NS)


@dataclass(frozen=True)
class Coming:
    """A chunk, and when it came to the guard; nanoseconds."""

    chunk: ActionChunk
    t_ns: int


@dataclass(frozen=True)
class SeamRow:
    """One execution over one sequence. Numbers are of the worst dimension, positions in their own unit u.

    Attributes:
        jump: largest change of the request in a tick in which a chunk came, u.
        acceleration, jerk: largest of the commands, u/s^2 and u/s^3.
        typical_jerk: root mean square of the commands' jerk, u/s^3.
        latches: chunks that would have latched the guard for their seam.
    """

    execution: Execution
    jump: float
    acceleration: float
    jerk: float
    typical_jerk: float
    latches: int


def named(episodes: Sequence[Episode], name: str | None) -> Episode:
    """The episode called ``name``, the last one if None; EpisodeError if there is none."""
    if name is None:
        return episodes[-1]
    for episode in episodes:
        if episode.name == name:
            return episode
    raise EpisodeError(f"there is no episode {name}, only {', '.join(e.name for e in episodes)}")


def recorded_chunks(bundle: Bundle, episode: Episode, replan_s: float, latency_s: float) -> list[Coming]:
    """The bundle's FP32 answers to every ``replan_s`` of ``episode``, each ``latency_s`` after its frame.

    Raises:
        EpisodeError: if its cameras or states are not the policy's.
    """
    manifest = bundle.manifest
    every = max(1, round(replan_s / manifest.dt_s))
    model = Model(
        bundle, load_backend("onnxruntime"), Variant.portable(bundle, "fp32"), EngineOptions(), MonotonicClock()
    )
    samples = RecordedSamples([episode], [(0, step) for step in range(0, len(episode), every)], manifest)
    found = []
    for seq, sample in enumerate(samples):
        images = {f"image_{name}": image[None] for name, image in sample.images.items()}
        actions = model.infer(images, sample.state, sample.instruction).actions
        t0_ns = _BEGIN_NS + seconds_to_ns(sample.step * manifest.dt_s)
        chunk = ActionChunk(actions, t0_ns, seconds_to_ns(manifest.dt_s), _SENTENCE.id, bundle.digest, seq)
        found.append(Coming(chunk, t0_ns + seconds_to_ns(latency_s)))
    return found


def seams(comings: Sequence[Coming], spec: ActionSpec, timing: ChunkTiming, limits: Limits) -> list[SeamRow]:
    """Every execution over the same chunks, ticking 100 times a second.

    Args:
        comings: in the order of time; the robot stands where the first one begins.
        timing: of the chunks; each execution takes its place in it.
        limits: of the robot. Seams are merged however large they are, and those beyond the limits counted.
    """
    return [_row(comings, spec, replace(timing, execution=execution), limits) for execution in get_args(Execution)]


def _row(comings: Sequence[Coming], spec: ActionSpec, timing: ChunkTiming, limits: Limits) -> SeamRow:
    merged = replace(limits, seam_m=1e9, seam_rad=1e9, seam_ratio=1e9)
    requests, commands, came = _play(comings, spec, timing, merged)
    absolute = np.array([d.semantics == "absolute" for d in spec.dimensions])
    velocity = np.where(absolute, np.diff(commands, axis=0) / TICK_S, commands[1:])
    acceleration = np.diff(velocity, axis=0) / TICK_S
    jerk = np.diff(acceleration, axis=0) / TICK_S
    return SeamRow(
        timing.execution,
        float(np.nanmax(np.abs(np.diff(requests, axis=0))[came[1:]], initial=0.0)),
        float(np.abs(acceleration).max()),
        float(np.abs(jerk).max()),
        float(np.sqrt(np.square(jerk).mean(axis=0)).max()),
        _latches(comings, spec, timing, limits),
    )


def _play(
    comings: Sequence[Coming], spec: ActionSpec, timing: ChunkTiming, limits: Limits
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Requests [n, D], NaN for rest, and commands [n, D] of every tick, and whether a chunk came in it."""
    source, motion = RequestSource(spec, timing, limits), Motion(spec, limits, timing.dt_s, TICK_S)
    source.instruction(_SENTENCE)
    motion.measured(comings[0].chunk.actions[0].astype(np.float64))
    motion.settle()
    start, end = comings[0].t_ns, comings[-1].t_ns + seconds_to_ns(timing.replan_s)
    times = np.arange(start, end, seconds_to_ns(TICK_S))
    requests, commands = (np.full((len(times), len(spec)), np.nan) for _ in range(2))
    came = np.zeros(len(times), bool)
    left = deque(comings)
    for n, now_ns in enumerate(times.tolist()):
        while left and left[0].t_ns <= now_ns:
            source.take(left.popleft().chunk, now_ns)
            came[n] = True
        values = source.request(now_ns)[0].values
        if values is not None:
            requests[n] = values
        motion.advance(None if values is None else motion.bounds.clip(values)[0], TICK_S)
        commands[n] = motion.values
    return requests, commands, came


def _latches(comings: Iterable[Coming], spec: ActionSpec, timing: ChunkTiming, limits: Limits) -> int:
    """Chunks that find a seam; each is followed from its own beginning, as after arming again."""
    source = RequestSource(spec, timing, limits)
    source.instruction(_SENTENCE)
    return sum(any(f.fault == "seam" for f in source.take(c.chunk, c.t_ns)) for c in comings)
