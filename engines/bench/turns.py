"""Ways to compute the same thing, timed in turns.

A machine drifts, so only ratios between samples taken in turns count, and a sample during which other processes used
the CPU is dropped and counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ACCEPTED = 20
# A sample is dropped when other processes took more than this share of the machine meanwhile.
OTHERS = 0.05
CAMERA_SIZE = (480, 640, 3)

Actions = NDArray[np.float32]


@dataclass(frozen=True)
class Way:
    """One way from a camera image uint8 [480, 640, 3] to actions float32 [H, D]."""

    name: str
    act: Callable[[NDArray[np.uint8]], Actions]


@dataclass
class Tally:
    """Samples of one way, seconds; and how many were dropped."""

    accepted: list[float]
    dropped: int = 0


def measure(ways: Sequence[Way], accepted: int) -> list[Tally]:
    """Time the ways in turns until each has ``accepted`` samples, or after ten times as many turns."""
    rng = np.random.default_rng(0)
    for way in ways:
        way.act(rng.integers(0, 256, CAMERA_SIZE, np.uint8))
    tallies = [Tally([]) for _ in ways]
    for _ in range(10 * accepted):
        image = rng.integers(0, 256, CAMERA_SIZE, np.uint8)
        for way, tally in zip(ways, tallies, strict=True):
            _sample(way, image, tally)
        if all(len(t.accepted) >= accepted for t in tallies):
            break
    return tallies


def _sample(way: Way, image: NDArray[np.uint8], tally: Tally) -> None:
    busy, own, began = _busy_s(), time.process_time(), time.perf_counter()
    way.act(image)
    seconds = time.perf_counter() - began
    others = (_busy_s() - busy) - (time.process_time() - own)
    if others > OTHERS * seconds * (os.cpu_count() or 1) + 1 / os.sysconf("SC_CLK_TCK"):
        tally.dropped += 1
    else:
        tally.accepted.append(seconds)


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
    """Largest |difference| from the first way's actions on one image, relative to their norm."""
    image = np.random.default_rng(1).integers(0, 256, CAMERA_SIZE, np.uint8)
    truth, *others = (way.act(image) for way in ways)
    return [0.0, *(float(np.linalg.norm(o - truth) / np.linalg.norm(truth)) for o in others)]
