"""Limits as data, each with its unit and where it comes from."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from jetvla.runtime.action_spec import ActionDimension
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.box import Box

DEFAULTS = "jetvla's default for a slow table robot; 0.25 m/s is the reduced speed of ISO 10218-1"
# Full speed for the whole window is legal; above it by more than rounding and the grid of ticks is not.
TRAVEL_SLACK = 1.02


def _positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ConfigError(f"{name} must be a finite number above 0, not {value!r}")


def _limit(default: float, unit: str, source: str = DEFAULTS) -> Any:
    return field(default=default, metadata={"unit": unit, "source": source})


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How fast one quantity may change, in its unit ``u`` (m, rad, or 1 for a normalised gripper).

    ``acceleration`` bounds the gain of speed and every change that the policy asks for; ``deceleration``
    bounds the stop, and with it any change whatever. A stop weaker than a start is refused.

    ``travel_100ms`` and ``travel_1s`` bound the way (there and back counts twice) within any such window. None
    is :data:`TRAVEL_SLACK` times full speed; a smaller number lets the robot be quick for a moment and not for long.
    """

    velocity: float
    acceleration: float
    deceleration: float
    jerk: float
    travel_100ms: float | None = None
    travel_1s: float | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            if getattr(self, f.name) is not None or not f.name.startswith("travel"):
                _positive(f.name, getattr(self, f.name))
        if self.deceleration < self.acceleration:
            raise ConfigError(
                f"deceleration {self.deceleration:g} is below acceleration {self.acceleration:g}: "
                "a robot must stop at least as hard as it starts"
            )

    @property
    def smoothing_s(self) -> float:
        """Seconds over which a change of acceleration is spread so that jerk stays within its limit."""
        return (self.acceleration + self.deceleration) / self.jerk

    @property
    def stop_s(self) -> float:
        """Longest stop from full speed, in seconds, not counting ticks."""
        return self.velocity / self.deceleration + self.smoothing_s

    def travels(self) -> tuple[tuple[float, float], ...]:
        """Windows in seconds, and the longest way in each."""
        own = ((0.1, self.travel_100ms), (1.0, self.travel_1s))
        return tuple((s, TRAVEL_SLACK * self.velocity * s if way is None else way) for s, way in own)

    def scaled(self, factor: float) -> RateLimit:
        """All numbers times ``factor``."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {name: value and factor * value for name, value in own.items()}
        return RateLimit(**changed)


def _about(u: str, source: str = DEFAULTS) -> dict[str, str]:
    return {"unit": f"{u}/s, {u}/s², {u}/s², {u}/s³, {u}, {u}", "source": source}


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that the guard compares with. All times in seconds."""

    linear: RateLimit = field(default=RateLimit(0.25, 0.5, 1.0, 10.0), metadata=_about("m"))
    angular: RateLimit = field(default=RateLimit(0.5, 1.0, 2.0, 20.0), metadata=_about("rad"))
    joint: RateLimit = field(default=RateLimit(0.5, 1.0, 2.0, 20.0), metadata=_about("rad"))
    prismatic: RateLimit = field(
        default=RateLimit(0.1, 0.5, 1.0, 10.0), metadata=_about("m", "joints and grippers measured in metres")
    )
    gripper: RateLimit = field(
        default=RateLimit(1.0, 4.0, 4.0, 80.0), metadata=_about("1", "full stroke (1) in one second")
    )

    workspace: Box | None = field(
        default=None, metadata={"unit": "m", "source": "off until configured: only the builder knows the room"}
    )
    following_m: float = _limit(0.05, "m", "0.2 s behind the command at 0.25 m/s; more is an obstacle")
    following_rad: float = _limit(0.3, "rad", "0.6 s behind the command at 0.5 rad/s")

    frame_age_s: float = _limit(0.2, "s", "6 frames of a 30 Hz camera")
    camera_skew_s: float = _limit(0.04, "s", "one frame of a 30 Hz camera, and 7 ms of jitter")
    pose_age_s: float = _limit(0.1, "s", "25 mm at 0.25 m/s, half of the workspace's margin")
    feedback_age_s: float = _limit(0.1, "s", "5 reports at 50 Hz, the usual rate of /joint_states")
    deadman_s: float = _limit(0.25, "s", "two missed beats of a 10 Hz heartbeat")
    health_age_s: float = _limit(0.5, "s", "two missed health reports at the slowest allowed rate")
    link_silence_s: float = _limit(0.25, "s", "three missed messages of a 10 Hz policy")
    action_age_rate_s: float = _limit(0.5, "s", "cap on how long a velocity or delta is obeyed")
    action_age_absolute_s: float = _limit(0.2, "s", "added to horizon x dt for absolute actions")
    seam_m: float = _limit(0.05, "m", "0.2 s of full speed: a new chunk that asks for more is another plan")
    seam_rad: float = _limit(0.3, "rad", "0.6 s of full speed, each joint: as above")
    seam_ratio: float = _limit(2.0, "ratio", "change of a velocity by a new chunk, in accelerations: as above")
    blend_s: float = _limit(0.1, "s", "cross-fade of two chunks, or the time between chunks if that is shorter")
    future_s: float = _limit(0.005, "s", "stamp of a chunk ahead of the clock: one clock, so only rounding")
    instruction_ttl_s: float = _limit(60.0, "s", "an instruction is not obeyed for ever")
    rest_s: float = _limit(2.0, "s", "zeros after a stop, before the guard goes quiet")
    period_ratio: float = _limit(3.0, "periods", "longer between two ticks is a stall")
    bad_chunks: int = _limit(3, "in a row", "one flipped bit is an accident, three are a broken engine")
    late_chunks: int = _limit(3, "in a row", "as above")
    broken_clock: int = _limit(3, "in a row", "ticks without time passing")
    excess_count: int = _limit(10, "requests", "violation budget: this many ...")
    excess_window: int = _limit(50, "requests", "... out of this many")
    excess_margin: float = _limit(0.05, "ratio", "regression noise around a limit is clipped but not counted")

    gripper_votes: int = _limit(3, "requests", "a gripper moves where this many ...")
    gripper_window: int = _limit(5, "requests", "... of the last so many want it")

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not isinstance(value, RateLimit | Box | None):
                _positive(f.name, value)
        if not self.gripper_window < 2 * self.gripper_votes <= 2 * self.gripper_window:
            raise ConfigError("gripper_votes must be more than half of gripper_window, and not more than all of it")
        if self.excess_count > self.excess_window:
            raise ConfigError("excess_count must not be larger than excess_window")

    @classmethod
    def from_overrides(cls, overrides: Mapping[str, Any]) -> Limits:
        """Defaults changed by ``{"linear": {"velocity": 0.1}, "frame_age_s": 0.3}``.

        Raises:
            ConfigError: an unknown name, or a number that is not finite and positive; says which.
        """
        return cls(**_overridden(cls(), overrides, "limits"))

    def scaled(self, **factors: float) -> Limits:
        """Rates of the named quantities times a factor: ``limits.scaled(linear=0.5)``."""
        changed: dict[str, Any] = {name: self.rate(name).scaled(f) for name, f in factors.items()}
        return dataclasses.replace(self, **changed)

    def rate(self, name: str) -> RateLimit:
        """The rate limits called ``name``; ConfigError if there are none."""
        rate = getattr(self, name, None)
        if not isinstance(rate, RateLimit):
            raise ConfigError(f"limits.{name}: there are no rate limits of that name")
        return rate

    @property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits, of every number here: the same on every machine and in every run."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()

    def table(self) -> Iterator[tuple[str, Any, str, str]]:
        """Name, value, unit and source of every limit."""
        for f in fields(self):
            yield f.name, getattr(self, f.name), f.metadata["unit"], f.metadata["source"]


def rate_name(dimension: ActionDimension) -> str:
    """Which rate limits hold for ``dimension``."""
    if dimension.quantity in ("joint", "gripper") and dimension.unit in ("m", "m/s"):
        return "prismatic"
    return dimension.quantity


def _overridden(base: Limits | RateLimit, overrides: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Every field of ``base``, with those of ``overrides`` instead."""
    values = {f.name: getattr(base, f.name) for f in fields(base)}
    for name, new in overrides.items():
        if name not in values:
            raise ConfigError(f"{where}.{name}: unknown limit; known are {', '.join(values)}")
        values[name] = _override(values[name], new, f"{where}.{name}")
    return values


def _override(old: Any, new: Any, where: str) -> Any:
    if where == "limits.workspace":
        return Box.of(new)
    if isinstance(old, RateLimit):
        return _rate(old, new, where)
    _positive(where, new)
    if isinstance(old, int) and not isinstance(new, int):
        raise ConfigError(f"{where} must be a whole number, not {new!r}")
    return new


def _rate(old: RateLimit, new: Any, where: str) -> RateLimit:
    if not isinstance(new, Mapping):
        raise ConfigError(f"{where} must be a mapping such as {{velocity: 0.1}}, not {new!r}")
    values = _overridden(old, new, where)
    try:
        return RateLimit(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
