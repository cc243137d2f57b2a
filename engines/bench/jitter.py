"""How late a 100 Hz control tick wakes while the reference policy computes on every core.

Ours is the guard's core in a process of its own, with absolute deadlines and the best scheduling that the kernel
grants, as the guard daemon has them, but without that daemon's link, ROS 2 and telemetry; how its ticks wake is in
every profile (``wake``). Beside it the usual way: one process, the policy in a thread, relative sleeps.
"""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.connection
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from jetvla.engines.observations import random_observations
from jetvla.runtime.backends import EngineOptions, load_backend
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import NS_PER_S, MonotonicClock
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.core import Guard
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.pacer import Pacer
from jetvla.runtime.guard.scheduling import LinuxKernel, be_timely
from jetvla.runtime.policy.model import Model, Variant
from jetvla.runtime.preprocess import resize
from jetvla.runtime.telemetry.stolen import stolen_s

GUARD_WAY = "guard: own process, absolute deadlines"
RATE_HZ = 100.0
# Turns of each way; a machine's load drifts.
TURNS = 3
_SETTLE_S = 2.0
_FRAME = np.zeros((480, 640, 3), np.uint8)


@dataclass(frozen=True)
class Jitter:
    """Lateness of one way's ticks, microseconds; ``scheduling`` is what the kernel granted, ``stolen_ms`` what the host
    of a virtual machine took of its processors meanwhile, all together."""

    way: str
    scheduling: str
    p50_us: float
    p99_us: float
    max_us: float
    ticks: int
    stolen_ms: float


def jitter(path: Path, seconds: float) -> list[Jitter]:
    """Measure both ways in turns, each for ``seconds`` in all, beside the bundle at ``path``."""
    ways = ((GUARD_WAY, _ours), ("one process, policy in a thread", _naive))
    late: dict[str, list[float]] = {name: [] for name, _ in ways}
    stolen_ms = dict.fromkeys(late, 0.0)
    granted: dict[str, str] = {}
    for _ in range(TURNS):
        for name, way in ways:
            before_s = stolen_s()
            granted[name], found = way(path, seconds / TURNS)
            stolen_ms[name] += (stolen_s() - before_s) * 1e3
            late[name] += found
    return [_summed(name, granted[name], np.array(late[name]), stolen_ms[name]) for name, _ in ways]


def _summed(name: str, scheduling: str, late: np.ndarray, stolen_ms: float) -> Jitter:
    p50, p99 = (float(value) for value in np.percentile(late, (50, 99)))
    return Jitter(name, scheduling, p50, p99, float(late.max()), len(late), stolen_ms)


def _ours(path: Path, seconds: float) -> tuple[str, list[float]]:
    """The policy in one process, the guard in another."""
    context = multiprocessing.get_context("spawn")
    ready, enough = context.Event(), context.Event()
    policy = context.Process(target=_compute, args=(path, ready, enough), daemon=True)
    policy.start()
    receive, send = context.Pipe(duplex=False)
    try:
        ready.wait()
        guard = context.Process(target=_guard, args=(path, seconds, send), daemon=True)
        guard.start()
        answer: tuple[str, list[float]] = receive.recv()
        guard.join()
    finally:
        enough.set()
        policy.join()
    return answer


def _naive(path: Path, seconds: float) -> tuple[str, list[float]]:
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    both = context.Process(target=_threaded, args=(path, seconds, send), daemon=True)
    both.start()
    answer: tuple[str, list[float]] = receive.recv()
    both.join()
    return answer


def _compute(path: Path, ready: Event, enough: Event) -> None:
    step = _policy(path)
    ready.set()
    while not enough.is_set():
        step()


def _guard(path: Path, seconds: float, send: multiprocessing.connection.Connection) -> None:
    tick, clock = _tick(path), MonotonicClock()
    scheduling = be_timely(LinuxKernel())
    gc.freeze()
    gc.disable()
    time.sleep(_SETTLE_S)
    pacer, late = Pacer(clock, RATE_HZ), []
    for _ in range(round(seconds * RATE_HZ)):
        late.append(pacer.wait().late_ns / 1e3)
        tick()
    send.send((scheduling.rung, late))


def _threaded(path: Path, seconds: float, send: multiprocessing.connection.Connection) -> None:
    step, tick, enough = _policy(path), _tick(path), threading.Event()

    def compute() -> None:
        while not enough.is_set():
            step()

    thread = threading.Thread(target=compute)
    thread.start()
    time.sleep(_SETTLE_S)
    period_ns, late = round(NS_PER_S / RATE_HZ), []
    for _ in range(round(seconds * RATE_HZ)):
        began_ns = time.monotonic_ns()
        tick()
        left_ns = max(0, began_ns + period_ns - time.monotonic_ns())
        time.sleep(left_ns / NS_PER_S)
        late.append((time.monotonic_ns() - began_ns - period_ns) / 1e3)
    enough.set()
    thread.join()
    send.send(("plain", late))


def _policy(path: Path) -> Callable[[], None]:
    """One frame to an action, on every core."""
    bundle = Bundle.open(path, None)
    manifest = bundle.manifest
    variant = Variant.portable(bundle, manifest.step_precisions[-1])
    options = EngineOptions(threads=os.cpu_count())
    model = Model(bundle, load_backend("onnxruntime"), variant, options, MonotonicClock())
    camera = manifest.cameras[0]
    sentence = random_observations(manifest).held_out[0].instruction

    def step() -> None:
        image = resize(_FRAME, camera.height, camera.width, manifest.resize)
        model.infer({f"image_{camera.name}": image[None]}, None, sentence)

    step()
    return step


def _tick(path: Path) -> Callable[[], object]:
    """The guard's core, disarmed: it shapes and checks all the same."""
    bundle = Bundle.open(path, None)
    m = bundle.manifest
    timing = ChunkTiming(m.horizon, m.dt_s, m.replan_s)
    return Guard(m.action, timing, Limits(), RATE_HZ, bundle.digest, MonotonicClock()).tick
