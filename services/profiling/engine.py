"""The step engine alone, in a process of its own: what it takes of memory and of time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jetvla.runtime.backends import load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import NS_PER_S, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import EngineError, JetvlaError
from jetvla.runtime.keys import load_trusted
from jetvla.runtime.policy.model import Model, open_model
from jetvla.services.profiling.collector import StageSamples
from jetvla.services.profiling.memory import resident_mb
from jetvla.services.profiling.record import EngineFacts, Figures

BACK_TO_BACK = "step, back to back"
_GPU = "step, GPU"
_GPU_BACK_TO_BACK = "step, GPU, back to back"
_WARM_UP = 20


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the engine runs each way, and how often a second at the control rate."""

    seconds: float
    rate_hz: float


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What the process found; no figures without a :class:`Pace`."""

    facts: EngineFacts
    stages: dict[str, Figures]


def run_engine(config: Path, pace: Pace | None = None) -> EngineRun:
    """Open the engine of ``config`` in a new process, and with ``pace`` run it on random observations.

    Raises:
        EngineError: with the message of whatever went wrong there.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        return processes.submit(_run, config, pace).result()


def _run(config: Path, pace: Pace | None) -> EngineRun:
    """In the new process. Errors become one that can travel."""
    try:
        return _measured(load_config(config), pace)
    except JetvlaError as error:
        raise EngineError(str(error)) from None


def _measured(config: Config, pace: Pace | None) -> EngineRun:
    bundle = Bundle.open(config.bundle, load_trusted(config.trusted))
    backend = load_backend(config.policy.backend)
    # The library itself is no part of the engine.
    backend.version()
    before_mb = resident_mb() or 0.0
    model = open_model(bundle, config.policy, MonotonicClock())
    step = _step(model, bundle, config.instruction.text or "")
    step()
    resident = round((resident_mb() or 0.0) - before_mb, 1)
    key = model.key.digest().hex()
    facts = EngineFacts(model.key.backend, model.precision, model.variant.name, key, resident)
    return EngineRun(facts, {} if pace is None else _timed(model, step, pace))


def _step(model: Model, bundle: Bundle, sentence: str) -> Callable[[], int]:
    """Runs one step on random pictures; nanoseconds."""
    rng = np.random.default_rng(0)
    cameras = bundle.manifest.cameras
    images = {f"image_{c.name}": rng.integers(0, 256, (1, c.height, c.width, 3), np.uint8) for c in cameras}
    state = np.zeros(len(bundle.manifest.state), np.float32) if bundle.manifest.state else None
    return lambda: model.infer(images, state, sentence).step_ns


def _timed(model: Model, step: Callable[[], int], pace: Pace) -> dict[str, Figures]:
    for _ in range(_WARM_UP):
        step()
    stages = {name: StageSamples() for name in ("step", BACK_TO_BACK, _GPU, _GPU_BACK_TO_BACK)}
    clock = MonotonicClock()
    for whole, gpu, period_ns in (
        (BACK_TO_BACK, _GPU_BACK_TO_BACK, 0),
        ("step", _GPU, round(NS_PER_S / pace.rate_hz)),
    ):
        next_ns = clock.now_ns()
        end_ns = next_ns + seconds_to_ns(pace.seconds)
        while next_ns < end_ns:
            clock.sleep_until_ns(next_ns)
            stages[whole].add(step())
            if (gpu_ms := model.gpu_ms()) is not None:
                stages[gpu].add(round(gpu_ms * 1e6))
            next_ns = max(next_ns + period_ns, clock.now_ns() if period_ns == 0 else 0)
    found = {name: samples.figures() for name, samples in stages.items()}
    return {name: figures for name, figures in found.items() if figures.count}
