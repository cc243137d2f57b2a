"""Ways to compute the same thing, timed in turns.

A machine drifts, so only ratios between samples taken in turns count, and a sample during which other processes used
the CPU is dropped and counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

ACCEPTED = 20
# A sample is dropped when other processes took more than this share of the machine meanwhile.
OTHERS = 0.05
CAMERA_SIZE = (480, 640, 3)

Actions = NDArray[np.float32]
Sample = TypeVar("Sample")


@dataclass(frozen=True)
class Way:
    """One way from a camera image uint8 [480, 640, 3] to actions float32 [H, D]."""

    name: str
    act: Callable[[NDArray[np.uint8]], Actions]


@dataclass
class Tally(Generic[Sample]):
    """Samples of one way; and how many were dropped."""

    accepted: list[Sample]
    dropped: int = 0


def measure(ways: Sequence[Way], accepted: int) -> list[Tally[float]]:
    """Time the ways in turns, in seconds, all on the same images; see :func:`take_turns`."""
    rng = np.random.default_rng(0)
    for way in ways:
        way.act(rng.integers(0, 256, CAMERA_SIZE, np.uint8))
    return take_turns([partial(_timed, way, np.random.default_rng(1)) for way in ways], accepted)


def _timed(way: Way, rng: np.random.Generator) -> float:
    image = rng.integers(0, 256, CAMERA_SIZE, np.uint8)
    began = time.perf_counter()
    way.act(image)
    return time.perf_counter() - began


def take_turns(
    calls: Sequence[Callable[[], Sample]], accepted: int, own_s: Callable[[], float] = time.process_time
) -> list[Tally[Sample]]:
    """Take a sample of every call in turns until each has ``accepted`` ones, or after ten times as many turns.

    Args:
        own_s: CPU time, seconds, of all that is measured; what else the machine did is other processes' work.
    """
    tallies: list[Tally[Sample]] = [Tally([]) for _ in calls]
    for _ in range(10 * accepted):
        for call, tally in zip(calls, tallies, strict=True):
            _sample(call, tally, own_s)
        if all(len(t.accepted) >= accepted for t in tallies):
            break
    return tallies


def _sample(call: Callable[[], Sample], tally: Tally[Sample], own_s: Callable[[], float]) -> None:
    busy, own, began = _busy_s(), own_s(), time.perf_counter()
    sample = call()
    seconds = time.perf_counter() - began
    others = (_busy_s() - busy) - (own_s() - own)
    if others > OTHERS * seconds * (os.cpu_count() or 1) + 1 / os.sysconf("SC_CLK_TCK"):
        tally.dropped += 1
    else:
        tally.accepted.append(sample)


def family_s() -> float:
    """CPU seconds of this process and of its children that have ended; an ``own_s``."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _busy_s() -> float:
    """Seconds that all cores together have been busy since boot."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


class Others:
    """Other processes, from here on."""

    def __init__(self) -> None:
        self._busy, self._own, self._began = _busy_s(), time.process_time(), time.perf_counter()

    def share(self) -> float:
        """Of the machine's cores, what they have used."""
        used = (_busy_s() - self._busy) - (time.process_time() - self._own)
        return max(0.0, used / (time.perf_counter() - self._began) / (os.cpu_count() or 1))


def error(ways: Sequence[Way]) -> list[float]:
    """Norm (L2) of the difference from the first way's actions on one image, relative to the norm of these."""
    image = np.random.default_rng(1).integers(0, 256, CAMERA_SIZE, np.uint8)
    truth, *others = (way.act(image) for way in ways)
    return [0.0, *(float(np.linalg.norm(o - truth) / np.linalg.norm(truth)) for o in others)]
