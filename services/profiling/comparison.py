"""Two profiles side by side: what became slower, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.environment import Environment, differences
from jetvla.services.profiling.bootstrap import CONFIDENCE, Ratio, Run, ratio_of_quantiles
from jetvla.services.profiling.collector import ONCE
from jetvla.services.profiling.record import Mode, Profile

Change = Literal["slower", "faster", "no difference seen"]
Outcome = Literal["slower", "not slower", "not judged"]

# Below these, a quantile's interval says nothing: a p99 of 200 samples is their second or third largest.
MIN_SAMPLES = 20
MIN_TAIL_SAMPLES = 200
# Nobody acts on less, and the same machine is that much another one an hour later.
SMALLEST_CHANGE = 0.05
SMALLEST_CHANGE_MS = 0.05
# Instructions are read within a moment, too short to be cut into blocks of a second: what the machine did then is in
# all of the samples.
SMALLEST_CHANGE_ONCE = 0.25
SMALLEST = f"{SMALLEST_CHANGE:.0%} and {SMALLEST_CHANGE_MS:g} ms"
WHOLE_WAY = "age"
# Without these, nobody knows whether the robot became slower.
_ESSENTIAL = (WHOLE_WAY, "step")
_MEDIAN, _TAIL = 0.5, 0.99


@dataclass(frozen=True, slots=True)
class StageChange:
    """One stage; milliseconds, quantiles of the samples that both profiles kept and the ratios are of. ``median`` and
    ``tail`` (p99) are None with too few samples to tell."""

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
        return judged(self.median, self.after - self.before, self._smallest)

    @property
    def tail_change(self) -> Change:
        """Of the p99."""
        return judged(self.tail, self.after_p99 - self.before_p99, self._smallest)

    @property
    def _smallest(self) -> float:
        return SMALLEST_CHANGE_ONCE if self.stage in ONCE else SMALLEST_CHANGE


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of two profiles.

    Attributes:
        stages: that ran in both.
        warnings: what else may explain a difference.
        vanished: stages that ran before, and now did not or hardly did, and how often.
        unread: stages that run once an instruction, and did not run in both.
    """

    stages: tuple[StageChange, ...]
    warnings: tuple[str, ...]
    vanished: dict[str, str]
    unread: tuple[str, ...]

    @property
    def slower(self) -> tuple[str, ...]:
        """Stages whose median or p99 rose."""
        return tuple(s.stage for s in self.stages if "slower" in (s.change, s.tail_change))

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Stages of which there are too few samples to tell, or none."""
        return (*(s.stage for s in self.stages if s.median is None), *self.unread)

    @property
    def blank(self) -> bool:
        """No stage could be judged."""
        return all(s.median is None for s in self.stages)

    @property
    def outcome(self) -> Outcome:
        """Of the whole. What did not run did not run in time: a stage that vanished leaves the rest unjudged."""
        if self.vanished or not set(self.unjudged).isdisjoint(_ESSENTIAL) or self.blank:
            return "not judged"
        return "slower" if self.slower else "not slower"

    @property
    def most_changed(self) -> StageChange | None:
        """The stage whose median moved by most milliseconds, of those that differ; the whole way is no stage."""
        changed = [s for s in self.stages if s.stage != WHOLE_WAY and s.change != "no difference seen"]
        return max(changed, key=lambda s: abs(s.after - s.before), default=None)


def judged(ratio: Ratio | None, moved_ms: float, smallest: float = SMALLEST_CHANGE) -> Change:
    """By the interval, if the change is one that counts."""
    if ratio is None or ratio.low <= 1 <= ratio.high:
        return "no difference seen"
    if 1 / (1 + smallest) < ratio.value < 1 + smallest or abs(moved_ms) < SMALLEST_CHANGE_MS:
        return "no difference seen"
    return "slower" if ratio.value > 1 else "faster"


def compare(before: Profile, after: Profile, force: bool = False) -> Comparison:
    """Stage by stage.

    Raises:
        TelemetryError: if the two were measured on other machines, in other power modes or in other ways, and not
            ``force``; with every reason.
    """
    refused = hindrances(before, after.environment, after.mode)
    if refused and not force:
        raise TelemetryError(
            f"these profiles have nothing in common to compare: {'; '.join(refused)}; measure both alike, or insist "
            "with --force"
        )
    shared = [name for name in after.stages if name in before.stages]
    alone = sorted(set(before.stages) ^ set(after.stages))
    warnings = [*_differing(before, after), *(f"only one of them has the stage {name}" for name in alone)]
    # All intervals together hold with CONFIDENCE (Bonferroni): twenty at 99 % would differ in every fifth comparison.
    each = 1 - (1 - CONFIDENCE) / (2 * max(1, len(shared)))
    return Comparison(
        tuple(_changed(name, before, after, each) for name in shared),
        (*refused, *warnings),
        dict(_vanished(before, after)),
        tuple(name for name in ONCE if name in alone or (after.mode == "attached" and name not in shared)),
    )


def hindrances(before: Profile, environment: Environment, mode: Mode) -> list[str]:
    """Why a measurement by ``mode`` in ``environment`` has nothing in common with ``before``."""
    refused = [str(d) for d in differences(before.environment, environment) if d.grade == "refuse"]
    if before.mode != mode:
        refused.append(f"way of measuring: {before.mode} and {mode}")
    return refused


def _differing(before: Profile, after: Profile) -> Iterator[str]:
    yield from (str(d) for d in differences(before.environment, after.environment) if d.grade == "warn")
    pairs = {
        "bundle": (before.bundle, after.bundle),
        "engine": (before.engine_key, after.engine_key),
        "guard's rate": (before.guard_hz, after.guard_hz),
        "scheduling": (before.scheduling, after.scheduling),
        **{name: (before.setting.get(name), after.setting.get(name)) for name in {**before.setting, **after.setting}},
    }
    for name, (one, two) in pairs.items():
        if one != two:
            yield f"{name}: {one or 'unknown'} and {two or 'unknown'}"
    for name, profile in (("former", before), ("newer", after)):
        if held := _held_back(profile):
            yield f"the {name} measurement was held back by {', '.join(held)}"


def _held_back(profile: Profile) -> tuple[str, ...]:
    """What throttled in its time, as far as anybody knows."""
    halves = [profile.power] if profile.back_to_back is None else [profile.power, profile.back_to_back.power]
    found = [name for power in halves for name in power.held_back or ()]
    before, after = profile.environment.throttling, profile.after.throttling
    if before is not None and after is not None:
        found += after.active if found else after.since(before)
    return tuple(dict.fromkeys(found))


def _vanished(before: Profile, after: Profile) -> Iterator[tuple[str, str]]:
    """What runs once an instruction may have run before the measurement, and is not missed."""
    for name, figures in before.stages.items():
        count = after.stages[name].count if name in after.stages else 0
        if name not in ONCE and (count == 0 or count < MIN_SAMPLES <= figures.count):
            yield name, f"ran {figures.count} times before, and {count or 'never'} after"


def _changed(stage: str, before: Profile, after: Profile, confidence: float) -> StageChange:
    runs = _run(before, stage), _run(after, stage)
    fewest = min(len(run.samples) for run in runs)
    median, tail = (
        ratio_of_quantiles(*runs, quantile, confidence) if fewest >= enough else None
        for quantile, enough in ((_MEDIAN, MIN_SAMPLES), (_TAIL, MIN_TAIL_SAMPLES))
    )
    (p50, p99), (p50_after, p99_after) = (_milliseconds(run.samples) for run in runs)
    return StageChange(stage, p50, p50_after, p99, p99_after, median, tail)


def _run(profile: Profile, stage: str) -> Run:
    figures = profile.stages[stage]
    # What took less than the clock tells took that tenth of a microsecond.
    per_second = None if stage in ONCE else figures.count / profile.seconds_of(stage)
    return Run(np.maximum(np.array(figures.samples_us), 0.1), per_second)


def _milliseconds(samples_us: NDArray[np.float64]) -> tuple[float, float]:
    p50, p99 = np.quantile(samples_us, (_MEDIAN, _TAIL)) / 1e3
    return float(p50), float(p99)
