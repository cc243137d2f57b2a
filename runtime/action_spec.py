"""What each number of an action means. Declared, never guessed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Semantics = Literal["velocity", "delta", "absolute"]
Quantity = Literal["linear", "angular", "joint", "gripper"]
Unit = Literal["m", "rad", "m/s", "rad/s", "1", "1/s"]
RotationForm = Literal["rotation_vector", "roll_pitch_yaw"]

_UNITS: dict[tuple[Quantity, bool], tuple[Unit, ...]] = {
    ("linear", False): ("m",),
    ("linear", True): ("m/s",),
    ("angular", False): ("rad",),
    ("angular", True): ("rad/s",),
    ("joint", False): ("rad", "m"),
    ("joint", True): ("rad/s", "m/s"),
    ("gripper", False): ("1", "m"),
    ("gripper", True): ("1/s", "m/s"),
}


class ActionDimension(BaseModel):
    """One number of an action.

    Attributes:
        name: unique within the spec, such as ``"x"`` or ``"left_elbow"``.
        quantity: ``linear`` and ``angular`` belong to a Cartesian twist or pose; ``joint`` and ``gripper`` to one
            actuator.
        unit: SI, or ``"1"`` for a value normalised to 0-1. A velocity's unit is per second.
        semantics: ``velocity``; ``delta`` (change over one ``dt_s``); ``absolute``.
        frame: ROS frame in which a linear or angular quantity is expressed.
        range: smallest and largest sensible value, in ``unit``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    quantity: Quantity
    unit: Unit
    semantics: Semantics
    frame: str = ""
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ActionDimension:
        allowed = _UNITS[(self.quantity, self.semantics == "velocity")]
        if self.unit not in allowed:
            units = " or ".join(allowed)
            raise ValueError(
                f"dimension {self.name!r}: a {self.semantics} {self.quantity} has unit {units}, not {self.unit}"
            )
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"dimension {self.name!r}: range must be [smallest, largest], not {list(self.range)}")
        return self


class ActionSpec(BaseModel):
    """The meaning of an action vector of D numbers, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimensions: tuple[ActionDimension, ...] = Field(min_length=1)
    rotation: RotationForm | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ActionSpec:
        names = self.names
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"action dimensions named twice: {', '.join(twice)}")
        if any(d.quantity == "angular" for d in self.dimensions) and self.rotation is None:
            raise ValueError("angular dimensions need 'rotation': rotation_vector or roll_pitch_yaw")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(d.name for d in self.dimensions)

    def __len__(self) -> int:
        return len(self.dimensions)

    def index(self, name: str) -> int:
        """Position of dimension ``name``; ValueError if there is none."""
        return self.names.index(name)
