"""How the durations of a stage are spread: one picture a stage, all on the same logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.services.profiling.record import Figures
from jetvla.services.profiling.wording import milliseconds

_BINS = 96
_LEAST_US = 1.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A duration on the axis, 0 to 1."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Spread:
    """One stage: outlines in a drawing of 96 x 24, and where p50 and p99 stand on the axis, 0 to 1.

    Attributes:
        former: outline of the profile that is compared with; empty if there is none.
    """

    stage: str
    outline: str
    former: str
    p50: float
    p99: float
    text: str


@dataclass(frozen=True, slots=True)
class Axis:
    """From ``low`` to ``high`` microseconds, whole powers of ten."""

    low: float
    high: float

    def place(self, us: float) -> float:
        span = np.log10(self.high / self.low)
        return float(np.clip(np.log10(max(us, self.low) / self.low) / span, 0, 1))

    def ticks(self) -> tuple[Tick, ...]:
        count = round(float(np.log10(self.high / self.low)))
        return tuple(Tick(i / count, _duration(self.low * 10**i)) for i in range(count + 1))


def axis_of(stages: Mapping[str, Figures]) -> Axis:
    """The shortest that holds every sample."""
    every = np.concatenate([np.array(figures.samples_us) for figures in stages.values()])
    low = 10.0 ** np.floor(np.log10(max(every.min(), _LEAST_US)))
    return Axis(low, max(10.0 ** np.ceil(np.log10(every.max())), low * 10))


def spreads(stages: Mapping[str, Figures], former: Mapping[str, Figures], axis: Axis) -> tuple[Spread, ...]:
    """Of every stage, in their order."""
    return tuple(_spread(name, figures, former.get(name), axis) for name, figures in stages.items())


def _spread(name: str, figures: Figures, former: Figures | None, axis: Axis) -> Spread:
    before = "" if former is None else outline(np.array(former.samples_us), axis)
    return Spread(
        name,
        outline(np.array(figures.samples_us), axis),
        before,
        axis.place(figures.p50 * 1e3),
        axis.place(figures.p99 * 1e3),
        f"{name}: half of {figures.count} within {milliseconds(figures.p50)} ms, 99 % within "
        f"{milliseconds(figures.p99)} ms, all within {milliseconds(figures.max)} ms",
    )


def outline(samples_us: NDArray[np.float64], axis: Axis) -> str:
    """A closed path of the histogram, as high as the drawing, so that its shape shows and not its number of samples."""
    edges = np.logspace(np.log10(axis.low), np.log10(axis.high), _BINS + 1)
    counts, _ = np.histogram(np.clip(samples_us, axis.low, axis.high), edges)
    heights = 24 - 23 * counts / counts.max()
    used = np.flatnonzero(counts)
    steps = (f"V{heights[i]:.1f}H{i + 1}" for i in range(used[0], used[-1] + 1))
    return f"M{used[0]} 24{''.join(steps)}V24Z"


def _duration(us: float) -> str:
    if us < 1e3:
        return f"{us:g} µs"
    return f"{us / 1e3:g} ms" if us < 1e6 else f"{us / 1e6:g} s"
