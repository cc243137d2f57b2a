"""What each stage may take, from a file; and whether it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, create_model, model_validator

from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.config import load_section
from jetvla.runtime.robot_config import Section
from jetvla.runtime.telemetry.stages import STAGE_NAMES
from jetvla.services.profiling.collector import Misses
from jetvla.services.profiling.record import STOPS, Figures, Verdict

_LIMITS = {"p50_ms": "p50", "p99_ms": "p99", "max_ms": "max"}


class StageBudget(Section):
    """Limits of one stage, milliseconds; what is left out is not limited. At most ``miss_ratio`` of all samples may
    take longer than ``deadline_ms``."""

    p50_ms: float | None = Field(default=None, gt=0)
    p99_ms: float | None = Field(default=None, gt=0)
    max_ms: float | None = Field(default=None, gt=0)
    deadline_ms: float | None = Field(default=None, gt=0)
    miss_ratio: float | None = Field(default=None, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> StageBudget:
        limits = [limit for name in _LIMITS if (limit := getattr(self, name)) is not None]
        if limits != sorted(limits):
            raise ValueError("p50_ms, p99_ms and max_ms must not fall: a median above the maximum can never be")
        if self.miss_ratio is not None and self.deadline_ms is None:
            raise ValueError("miss_ratio needs deadline_ms: say what is a miss")
        if not self.model_fields_set:
            raise ValueError("no limit is given; give p50_ms, p99_ms, max_ms or deadline_ms")
        return self

    def verdicts(self, stage: str, figures: Figures | None, misses: Misses) -> Iterator[Verdict]:
        for name, percentile in _LIMITS.items():
            if (limit := getattr(self, name)) is not None:
                yield Verdict(stage, percentile, limit, None if figures is None else getattr(figures, percentile))
        if self.deadline_ms is not None:
            ratio = misses.missed / misses.of if misses.of else None
            yield Verdict(stage, f"missed {self.deadline_ms:g} ms", self.miss_ratio or 0.0, ratio)


_fields: dict[str, Any] = dict.fromkeys(STAGE_NAMES, (StageBudget | None, None))
_StageBudgets = create_model("StageBudgets", __base__=Section, **_fields)


class Budget(_StageBudgets):
    """The whole file: one :class:`StageBudget` for any of the stages, by name; and how often the guard may stop."""

    stops: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _not_empty(self) -> Budget:
        if not self.model_fields_set:
            raise ValueError(f"no stage has a limit; the stages are {', '.join(STAGE_NAMES)}")
        return self

    @property
    def limited(self) -> set[str]:
        """What the file limits, by its keys."""
        return {*self.stages(), *({"stops"} & self.model_fields_set)}

    def stages(self) -> dict[str, StageBudget]:
        """Those that are limited."""
        found = {name: getattr(self, name) for name in STAGE_NAMES}
        return {name: budget for name, budget in found.items() if budget is not None}

    def deadlines_ns(self) -> dict[str, int]:
        """By stage, where there is one."""
        return {n: seconds_to_ns(b.deadline_ms / 1e3) for n, b in self.stages().items() if b.deadline_ms is not None}

    def judge(
        self, figures: Mapping[str, Figures], misses: Mapping[str, Misses], stops: int | None = None
    ) -> tuple[Verdict, ...]:
        """Every limit against what was measured; ``stops`` is None where no guard took part."""
        stages = (
            verdict
            for name, budget in self.stages().items()
            for verdict in budget.verdicts(name, figures.get(name), misses.get(name, Misses(0, 0)))
        )
        return (*stages, *(() if stops is None else (Verdict("guard", STOPS, self.stops, stops),)))


def load_budget(path: Path) -> Budget:
    """Read and check ``path``; ConfigError names every mistake by its line."""
    return load_section(path, Budget, "the budget")
