"""Two profiles side by side: what became slower, by how much, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.environment import differences
from jetvla.services.profiling.bootstrap import Ratio, ratios_of_quantiles
from jetvla.services.profiling.record import Figures, Profile

Change = Literal["slower", "faster", "no difference seen"]

# Below these, a quantile's interval says nothing: a p99 of 200 samples is their second or third largest.
MIN_SAMPLES = 20
MIN_TAIL_SAMPLES = 200
WHOLE_WAY = "age"


@dataclass(frozen=True, slots=True)
class StageChange:
    """One stage; milliseconds. ``median`` and ``tail`` (p99) are None with too few samples to tell."""

    stage: str
    before: float
    after: float
    before_p99: float
    after_p99: float
    median: Ratio | None
    tail: Ratio | None

    @property
    def change(self) -> Change:
        """Of the median."""
        return judged(self.median)


@dataclass(frozen=True, slots=True)
class Comparison:
    """``warnings``: what else may explain a difference."""

    stages: tuple[StageChange, ...]
    warnings: tuple[str, ...]

    @property
    def slower(self) -> tuple[str, ...]:
        """Stages whose median or p99 rose."""
        return tuple(s.stage for s in self.stages if "slower" in (s.change, judged(s.tail)))

    @property
    def most_changed(self) -> StageChange | None:
        """The stage whose median moved by most milliseconds, of those that differ; the whole way is no stage."""
        changed = [s for s in self.stages if s.stage != WHOLE_WAY and s.change != "no difference seen"]
        return max(changed, key=lambda s: abs(s.after - s.before), default=None)


def judged(ratio: Ratio | None) -> Change:
    """By the interval alone."""
    if ratio is None or ratio.low <= 1 <= ratio.high:
        return "no difference seen"
    return "slower" if ratio.low > 1 else "faster"


def compare(before: Profile, after: Profile, force: bool = False) -> Comparison:
    """Stage by stage.

    Raises:
        TelemetryError: if the two were measured on other machines, in other power modes or in other ways, and not
            ``force``; with every reason.
    """
    refused, warnings = _hindrances(before, after)
    if refused and not force:
        raise TelemetryError(
            f"these profiles have nothing in common to compare: {'; '.join(refused)}; measure both alike, or insist "
            "with --force"
        )
    shared = [name for name in after.stages if name in before.stages]
    alone = sorted(set(before.stages) ^ set(after.stages))
    warnings += [f"only one of them has the stage {name}" for name in alone]
    return Comparison(
        tuple(_changed(name, before.stages[name], after.stages[name]) for name in shared), (*refused, *warnings)
    )


def _hindrances(before: Profile, after: Profile) -> tuple[list[str], list[str]]:
    found = differences(before.environment, after.environment)
    refused = [str(d) for d in found if d.grade == "refuse"]
    warnings = [str(d) for d in found if d.grade == "warn"]
    if before.mode != after.mode:
        refused.append(f"way of measuring: {before.mode} and {after.mode}")
    engines = [None if p.engine is None else p.engine.key for p in (before, after)]
    pairs = {
        "bundle": (before.bundle, after.bundle),
        "engine": tuple(engines),
        "guard's rate": (before.guard_hz, after.guard_hz),
        "scheduling": (before.scheduling, after.scheduling),
        **{name: (before.setting.get(name), after.setting.get(name)) for name in {**before.setting, **after.setting}},
    }
    warnings += [
        f"{name}: {one or 'unknown'} and {two or 'unknown'}" for name, (one, two) in pairs.items() if one != two
    ]
    return refused, warnings


def _changed(stage: str, before: Figures, after: Figures) -> StageChange:
    median, tail = _ratios(np.array(before.samples_us), np.array(after.samples_us))
    return StageChange(stage, before.p50, after.p50, before.p99, after.p99, median, tail)


def _ratios(before: np.ndarray, after: np.ndarray) -> tuple[Ratio | None, Ratio | None]:
    fewest = min(len(before), len(after))
    if fewest < MIN_SAMPLES:
        return None, None
    # What took less than the clock tells took that tenth of a microsecond.
    median, tail = ratios_of_quantiles(np.maximum(before, 0.1), np.maximum(after, 0.1), (0.5, 0.99))
    return median, tail if fewest >= MIN_TAIL_SAMPLES else None
