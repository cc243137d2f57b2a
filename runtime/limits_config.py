"""The guard's limits in ``jetvla.yaml``: any of them, and a word on those that hardly limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Annotated, Any

from pydantic import Field, create_model, model_validator

from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.box import MARGIN_M
from jetvla.runtime.guard.limits import Limits, RateLimit
from jetvla.runtime.robot_config import Section

# A robot that is ten times as quick as a slow table robot exists; a number beyond is rather one in another unit.
_LOOSE = 10
# A guard that is ended stops the robot first; systemd and 'jetvla run' give it twice as long.
MAX_STOP_S = 10.0

_Corner = tuple[float, float, float]


class WorkspaceConfig(Section):
    """The box that the tool does not leave, in metres: :class:`jetvla.runtime.guard.box.Box`. ``axes`` names the
    action dimensions along x, y, z."""

    frame: str = Field(min_length=1)
    low: _Corner
    high: _Corner
    margin: float = Field(default=MARGIN_M, gt=0)
    axes: tuple[str | None, str | None, str | None] = ("x", "y", "z")


def _override_fields(limits: Limits | RateLimit) -> dict[str, Any]:
    """An optional positive number, or section of such, for every field of ``limits``."""
    models: dict[str, Any] = {}
    for field in fields(limits):
        value = getattr(limits, field.name)
        if isinstance(value, RateLimit):
            models[field.name] = (_RateOverrides | None, None)
        elif field.name == "workspace":
            models[field.name] = (WorkspaceConfig | None, None)
        else:
            kind = int if isinstance(value, int) else float
            models[field.name] = (Annotated[kind, Field(gt=0)] | None, None)
    return models


_DEFAULTS = Limits()
# The time to live of an instruction has its own key, instruction.ttl_s.
_ELSEWHERE = ("instruction_ttl_s",)
_RateOverrides = create_model("RateOverrides", __base__=Section, **_override_fields(_DEFAULTS.linear))
_LimitFields = create_model(
    "LimitFields",
    __base__=Section,
    **{n: f for n, f in _override_fields(_DEFAULTS).items() if n not in _ELSEWHERE},
)


class LimitOverrides(_LimitFields):
    """Any of the guard's limits; what is left out keeps its default."""

    @model_validator(mode="after")
    def _consistent(self) -> LimitOverrides:
        try:
            limits = Limits.from_overrides(self.as_mapping())
        except ConfigError as error:
            raise ValueError(str(error)) from error
        for name, rate, unit, _ in limits.table():
            if isinstance(rate, RateLimit) and rate.stop_s > MAX_STOP_S:
                raise ValueError(
                    f"{name}: a stop from {rate.velocity:g} {unit.split(',')[0]} would take {rate.stop_s:.1f} s, and "
                    f"more than {MAX_STOP_S:g} is too long to wait for; lower velocity, or raise deceleration or jerk"
                )
        return self

    def as_mapping(self) -> dict[str, Any]:
        """What :meth:`Limits.from_overrides` takes."""
        return self.model_dump(exclude_none=True)

    def doubts(self) -> list[str]:
        """A sentence on every number that is more than ten times its default."""
        return [
            f"guard.limits.{name}: {number:g} is {number / default:.0f} times the default of {default:g} {unit}; "
            "is it meant so, and in this unit?"
            for name, number, default, unit in self._numbers()
            if number > _LOOSE * default
        ]

    def _numbers(self) -> Iterator[tuple[str, float, float, str]]:
        """Name, number, default and unit of all that is overridden and has a default."""
        for name, _, unit, _ in _DEFAULTS.table():
            default, own = getattr(_DEFAULTS, name), getattr(self, name, None)
            if own is None or default is None:
                continue
            if not isinstance(default, RateLimit):
                yield name, own, default, unit
                continue
            for field, field_unit in zip(fields(default), unit.split(", "), strict=True):
                number, usual = getattr(own, field.name), getattr(default, field.name)
                if number is not None and usual is not None:
                    yield f"{name}.{field.name}", number, usual, field_unit
