"""The age of every frame over the time of the measurement, with the outliers to point at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from jetvla.services.profiling.comparison import WHOLE_WAY
from jetvla.services.profiling.record import Frames
from jetvla.services.profiling.wording import milliseconds

# More could not be told apart on a screen.
_OUTLIERS = 40
_COLUMNS = 500
# Columns without a frame over which no line is drawn: nothing was obeyed then.
_GAP = 20
_US_PER_MS = 1e3


@dataclass(frozen=True, slots=True)
class Outlier:
    """One frame to point at; places as parts of width and height, from the top left."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """``line`` is a path in a drawing of 1000 x 1000, through the largest age of each column of the screen.

    Attributes:
        top_ms: at the upper edge.
        median: where the median age stands, from the top.
        seconds: at the right edge.
    """

    line: str
    outliers: tuple[Outlier, ...]
    median: float
    top_ms: float
    seconds: float


def timeline(frames: Frames, seconds: float) -> Timeline | None:
    """Of the frames' ages; None without any."""
    if WHOLE_WAY not in frames.stages:
        return None
    ages = np.array(frames.stages[WHOLE_WAY].duration_us) / _US_PER_MS
    at = np.clip(np.array(frames.captured_ms) / 1e3 / seconds, 0, 1)
    top = float(ages.max()) * 1.05
    slowest = sorted(np.argsort(ages)[-_OUTLIERS:].tolist())
    outliers = tuple(Outlier(float(at[i]), 1 - float(ages[i]) / top, told(frames, i)) for i in slowest)
    return Timeline(_line(at, ages / top), outliers, 1 - float(np.median(ages)) / top, top, seconds)


def told(frames: Frames, index: int) -> str:
    """A frame in words: when, and how long each stage took."""
    times = {name: stage.duration_us[index] for name, stage in frames.stages.items()}
    parts = [f"{name} {milliseconds(us / _US_PER_MS)}" for name, us in times.items() if not math.isnan(us)]
    return f"{frames.captured_ms[index] / 1e3:.2f} s: {', '.join(parts)} ms"


def _line(at: np.ndarray, heights: np.ndarray) -> str:
    largest: dict[int, float] = {}
    for column, height in zip((at * _COLUMNS).astype(int).tolist(), heights.tolist(), strict=True):
        largest[column] = max(largest.get(column, 0.0), height)
    path, last = "", -_COLUMNS
    for column, height in sorted(largest.items()):
        path += "L" if column - last <= _GAP else "M"
        path += f"{1000 * column / _COLUMNS:.0f} {1000 * (1 - height):.0f}"
        last = column
    return path
