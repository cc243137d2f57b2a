"""What a data set holds: how much of it, which numbers, which sentences, and what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes import Episode
from jetvla.runtime.errors import EpisodeError

BINS = 60
Numbers = Callable[[Episode], NDArray[np.float32] | None]
Names = Callable[[Episode], tuple[str, ...] | None]


@dataclass(frozen=True)
class Spread:
    """How D numbers are distributed over all steps.

    Attributes:
        names: one per number; ``[0]``, ``[1]``, ... where the recording states none.
        named: whether it does.
        min, max, mean, std: float64 [D], in the recording's units; std of the population.
        histogram: int64 [D, BINS], steps in equal parts of each number's own range.
    """

    names: tuple[str, ...]
    named: bool
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    histogram: NDArray[np.int64]

    @property
    def still(self) -> tuple[str, ...]:
        """Names of the numbers that never change."""
        return tuple(name for name, low, high in zip(self.names, self.min, self.max, strict=True) if low == high)


@dataclass(frozen=True)
class Coverage:
    """A data set in numbers.

    Attributes:
        episodes, frames: how many.
        duration_s: of all of it, None unless every episode states its fps.
        fps: different rates, ascending.
        cameras: height and width in pixels, of each camera's first image.
        actions, state: None unless every episode has them.
        instructions: sentence to frames; the empty one is in :attr:`missing` instead.
        missing: what a builder or a trainer may want and will not find, as sentences.
    """

    episodes: int
    frames: int
    duration_s: float | None
    fps: tuple[float, ...]
    cameras: dict[str, tuple[int, int]]
    actions: Spread | None
    state: Spread | None
    instructions: Counter[str]
    missing: tuple[str, ...]


def measure(episodes: Sequence[Episode]) -> Coverage:
    """Everything about ``episodes``; reads all numbers twice, of the images one per camera.

    Memory: one episode's numbers, and one count for each different sentence.

    Raises:
        EpisodeError: episodes that cannot be read, or that differ in how many numbers a step has.
    """
    instructions: Counter[str] = Counter()
    for episode in episodes:
        instructions.update(episode.instructions)
    silent = instructions.pop("", 0)
    rates = [episode.fps for episode in episodes]
    seconds = [len(e) / e.fps for e in episodes if e.fps is not None]
    actions = spread(episodes, lambda e: e.actions, lambda e: e.action_names, "actions")
    state = spread(episodes, lambda e: e.state, lambda e: e.state_names, "state")
    return Coverage(
        len(episodes),
        sum(len(e) for e in episodes),
        sum(seconds) if len(seconds) == len(episodes) else None,
        tuple(sorted({rate for rate in rates if rate is not None})),
        _cameras(episodes),
        actions,
        state,
        instructions,
        tuple(_missing(episodes, actions, state, silent)),
    )


def spread(episodes: Sequence[Episode], numbers: Numbers, names: Names, what: str) -> Spread | None:
    """The distribution of ``numbers`` over ``episodes``; None if one of them has none.

    Mean and variance are merged episode by episode (Chan, Golub and LeVeque 1979).
    """
    count, mean, squares = 0, np.zeros(0), np.zeros(0)
    low, high = np.zeros(0), np.zeros(0)
    for episode in episodes:
        values = numbers(episode)
        if values is None:
            return None
        if count and values.shape[1] != len(mean):
            raise EpisodeError(f"{episode.name} has {values.shape[1]} {what} a step, the episodes before {len(mean)}")
        part = values.astype(np.float64)
        if not count:
            low, high = part.min(axis=0), part.max(axis=0)
            mean, squares = np.zeros_like(low), np.zeros_like(low)
        low, high = np.minimum(low, part.min(axis=0)), np.maximum(high, part.max(axis=0))
        shift, total = part.mean(axis=0) - mean, count + len(part)
        squares += np.square(part - part.mean(axis=0)).sum(axis=0) + shift**2 * count * len(part) / total
        mean, count = mean + shift * len(part) / total, total
    stated = names(episodes[0])
    histogram = _histogram((numbers(e) for e in episodes), low, high)
    shown = stated or tuple(f"[{i}]" for i in range(len(mean)))
    return Spread(shown, stated is not None, low, high, mean, np.sqrt(squares / count), histogram)


def _histogram(
    parts: Iterable[NDArray[np.float32] | None], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.int64]:
    counts = np.zeros((len(low), BINS), np.int64)
    width = np.where(high > low, high - low, 1.0)
    for part in parts:
        assert part is not None, "checked before"
        place = np.minimum(((part - low) / width * BINS).astype(np.int64), BINS - 1)
        np.add.at(counts, (np.arange(len(low)), place), 1)
    return counts


def _cameras(episodes: Sequence[Episode]) -> dict[str, tuple[int, int]]:
    first = {camera: episode for episode in reversed(episodes) for camera in reversed(episode.cameras)}
    sizes = {}
    for camera in sorted(first):
        image = next(first[camera].images(camera, [0]))
        sizes[camera] = (image.shape[0], image.shape[1])
    return sizes


def _missing(episodes: Sequence[Episode], actions: Spread | None, state: Spread | None, silent: int) -> list[str]:
    missing = []
    for name, found in (("actions", actions), ("state", state)):
        if found is None:
            has = sum((e.actions if name == "actions" else e.state) is not None for e in episodes)
            missing.append(f"{name}: in {has} of {len(episodes)} episodes")
        elif not found.named:
            missing.append(f"names of the {name}: none are recorded")
    if actions is not None and actions.still:
        missing.append(f"movement: never any of {', '.join(actions.still)}")
    if any(e.fps is None for e in episodes):
        missing.append("frames per second: not recorded")
    if silent:
        missing.append(f"instructions: none for {silent} frames")
    every = sorted({camera for e in episodes for camera in e.cameras})
    for camera in every:
        has = sum(camera in e.cameras for e in episodes)
        if has < len(episodes):
            missing.append(f"camera {camera}: in {has} of {len(episodes)} episodes")
    if len(episodes) < 2:
        missing.append("a second episode: a build holds episodes out to judge by")
    return missing
