"""Why two measurements cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from jetvla.runtime.engine_key import Machine
from jetvla.runtime.telemetry.environment.record import Clocks, Environment

Grade = Literal["refuse", "warn"]

# Another machine, or the same one with another budget of power: such figures have no ratio. Everything else may explain
# a difference, and is said. What changes by itself (temperatures, load, present clocks) is not compared.
_MACHINE: dict[str, Grade] = {
    "cpu": "refuse",
    "gpu": "refuse",
    "compute_capability": "refuse",
    "power_mode": "refuse",
    "cuda": "warn",
    "driver": "warn",
    "jetpack": "warn",
}
_ENVIRONMENT: dict[str, Grade] = {
    "cpu_model": "refuse",
    "cores": "refuse",
    "jetson": "refuse",
    "power_mode": "refuse",
    "hypervisor": "refuse",
    "jetpack": "warn",
    "kernel": "warn",
    "python": "warn",
}
_LIMITS = ("governor", "min_mhz", "max_mhz")


@dataclass(frozen=True, slots=True)
class Difference:
    """``refuse``: the measurements have nothing in common. ``warn``: a difference may come from this."""

    grade: Grade
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.what}: {self.before or 'unknown'} and {self.after or 'unknown'}"


def differences(before: Environment, after: Environment) -> tuple[Difference, ...]:
    """What makes measurements in two environments hard to compare, the grave first; known and unknown differ."""
    found = [*_machines(before.machine, after.machine), *_fields(before, after)]
    for what, one, other in (("cpu", before.cpu, after.cpu), ("gpu", before.gpu, after.gpu)):
        found += _clocks(what, one, other)
    found += _versions(dict(before.versions), dict(after.versions))
    found += _throttled(before, after)
    return tuple(sorted(found, key=lambda difference: difference.grade == "warn"))


def _machines(before: Machine, after: Machine) -> Iterator[Difference]:
    for field in fields(Machine):
        yield from _difference(
            _MACHINE[field.name], f"machine.{field.name}", getattr(before, field.name), getattr(after, field.name)
        )


def _fields(before: Environment, after: Environment) -> Iterator[Difference]:
    for name, grade in _ENVIRONMENT.items():
        yield from _difference(grade, name, getattr(before, name), getattr(after, name))


def _clocks(what: str, before: Clocks, after: Clocks) -> Iterator[Difference]:
    for name in _LIMITS:
        yield from _difference("warn", f"{what}.{name}", getattr(before, name), getattr(after, name))


def _versions(before: dict[str, str], after: dict[str, str]) -> Iterator[Difference]:
    for package in dict.fromkeys((*before, *after)):
        yield from _difference("warn", f"versions.{package}", before.get(package), after.get(package))


def _throttled(before: Environment, after: Environment) -> Iterator[Difference]:
    """A machine that was held back is not comparable even with one that was held back alike."""
    held = [", ".join(e.throttling.active) if e.throttling else "" for e in (before, after)]
    if any(held):
        yield Difference("warn", "throttling", *(names or "nothing" for names in held))


def _difference(grade: Grade, what: str, before: object, after: object) -> Iterator[Difference]:
    if before != after:
        yield Difference(grade, what, *("" if value is None else f"{value}" for value in (before, after)))
