"""The step engine alone, in a process of its own: what it takes of memory and of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from jetvla.runtime.backends import load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import NS_PER_S, Clock, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import EngineError, JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.runtime.policy.model import Model, Step, open_model
from jetvla.runtime.workers import workers
from jetvla.services.profiling.collector import Misses, StageSamples
from jetvla.services.profiling.memory import resident_mb
from jetvla.services.profiling.record import EngineFacts, Figures

STEP, STEP_ON_GPU = "step", "step, GPU"
# Steps that warm it up. Each reads the instruction anew, as a robot does that hears another one.
_READINGS = 24

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the engine runs, and how often a second; None is back to back."""

    seconds: float
    rate_hz: float | None


@dataclass(frozen=True, slots=True)
class EngineRun:
    """Figures by stage, the seconds that they are of, and the steps that took longer than their deadline."""

    stages: dict[str, Figures]
    seconds: float
    misses: Misses


class EngineProcess:
    """The engine in its process, warm.

    Attributes:
        facts: of the engine.
        key: as a policy's HELLO tells it.
        readings: nanoseconds of each reading of the instruction, by stage; empty for a policy without language.
    """

    def __init__(self, processes: ProcessPoolExecutor, config: Path) -> None:
        self._processes, self._config = processes, config
        told = processes.submit(_told, config).result()
        self.facts, self.key, self.readings = told.facts, told.key, told.readings

    def run(self, pace: Pace, deadline_ns: int | None = None) -> EngineRun:
        """Run it on random pictures, which takes the seconds of ``pace`` and at most a step more; a step that takes
        longer than ``deadline_ns`` is counted.

        Raises:
            EngineError: if a step failed.
        """
        return self._processes.submit(_run, self._config, pace, deadline_ns).result()


@contextmanager
def open_engine(config: Path) -> Iterator[EngineProcess]:
    """The engine of ``config``, in a new process.

    Raises:
        EngineError: with the message of whatever went wrong there.
    """
    with workers(1) as processes:
        yield EngineProcess(processes, config)


@dataclass(frozen=True, slots=True)
class _Told:
    facts: EngineFacts
    key: str
    readings: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Opened:
    """In the new process. ``step`` runs one; nanoseconds."""

    model: Model
    step: Callable[[], int]
    told: _Told


def _told(config: Path) -> _Told:
    return _travelling(lambda: _opened(config).told)


def _run(config: Path, pace: Pace, deadline_ns: int | None) -> EngineRun:
    def work() -> EngineRun:
        opened = _opened(config)
        return run_at(opened.step, opened.model.gpu_ms, pace, MonotonicClock(), deadline_ns)

    return _travelling(work)


def _travelling(work: Callable[[], _Found]) -> _Found:
    """Errors become one that can travel."""
    try:
        return work()
    except JetvlaError as error:
        raise EngineError(str(error)) from None


@lru_cache(maxsize=1)
def _opened(path: Path) -> _Opened:
    config = load_config(path)
    bundle = Bundle.open(config.bundle, load_trusted(config.trusted))
    backend = load_backend(config.policy.backend)
    # The library itself is no part of the engine.
    backend.version()
    before_mb = resident_mb() or 0.0
    model = open_model(bundle, config.policy, MonotonicClock())
    infer = partial(model.infer, *_observation(bundle), config.instruction.text or "")
    infer()
    resident = round((resident_mb() or 0.0) - before_mb, 1)
    facts = EngineFacts(model.key.backend, model.precision, model.variant.name, resident)
    readings = _read(model, infer)
    return _Opened(model, lambda: infer().step_ns, _Told(facts, model.key.digest().hex(), readings))


def _read(model: Model, infer: Callable[[], Step]) -> dict[str, tuple[int, ...]]:
    steps = []
    for _ in range(_READINGS):
        model.forget()
        steps.append(infer())
    found = {"tokenize": tuple(s.tokenize_ns for s in steps), "language": tuple(s.language_ns for s in steps)}
    return {name: times for name, times in found.items() if any(times)}


def _observation(bundle: Bundle) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Random pictures, and the state if the policy takes one."""
    rng = np.random.default_rng(0)
    cameras = bundle.manifest.cameras
    images = {f"image_{c.name}": rng.integers(0, 256, (1, c.height, c.width, 3), np.uint8) for c in cameras}
    return images, np.zeros(len(bundle.manifest.state), np.float32) if bundle.manifest.state else None


def run_at(
    step: Callable[[], int],
    gpu_ms: Callable[[], float | None],
    pace: Pace,
    clock: Clock,
    deadline_ns: int | None = None,
) -> EngineRun:
    """Run ``step``, which tells its nanoseconds, at ``pace``: late by more than a period, the schedule starts anew, as
    the policy's loop does, so that a step that is too slow for its rate runs at its own.

    Args:
        gpu_ms: of the last step; None on a CPU.
    """
    samples = {STEP: StageSamples(deadline_ns), STEP_ON_GPU: StageSamples()}
    period_ns = 0 if pace.rate_hz is None else round(NS_PER_S / pace.rate_hz)
    began_ns = next_ns = clock.now_ns()
    end_ns = began_ns + seconds_to_ns(pace.seconds)
    while max(next_ns, clock.now_ns()) < end_ns:
        clock.sleep_until_ns(next_ns)
        next_ns = max(next_ns, clock.now_ns() - period_ns) + period_ns
        samples[STEP].add(step())
        if (ms := gpu_ms()) is not None:
            samples[STEP_ON_GPU].add(round(ms * 1e6))
    clock.sleep_until_ns(end_ns)
    found = {name: stage.figures() for name, stage in samples.items()}
    figures = {name: f for name, f in found.items() if f.count}
    return EngineRun(figures, (clock.now_ns() - began_ns) / NS_PER_S, samples[STEP].misses())
