"""``config.yaml`` of a checkpoint, as far as it is the same for every family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.manifest import CameraSpec, Execution, ResizeSpec

RGB = tuple[float, float, float]
# What is finite as float32.
_FLOAT32 = 3.4028235e38
_Number = Annotated[float, Field(ge=-_FLOAT32, le=_FLOAT32, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, le=_FLOAT32, allow_inf_nan=False)]
Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """Base of everything read from YAML: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageNormalization(Settings):
    """``(pixel / 255 - mean) / std`` per channel, R, G, B."""

    mean: RGB = (0.5, 0.5, 0.5)
    std: RGB = (0.5, 0.5, 0.5)


class TextSettings(Settings):
    """``max_tokens``: instructions are padded or cut to this many tokens."""

    max_tokens: int = Field(default=32, gt=0, le=512)


class PolicySettings(Settings):
    """What a policy sees and does. A family adds its sizes.

    Attributes:
        family: row of :data:`jetvla.engines.families.FAMILIES`.
        name: for people.
        horizon: actions per chunk.
        dt_s: time between the actions of a chunk, seconds.
        replan_s: intended time between chunks, seconds.
        execution, ensemble_coefficient: of :class:`jetvla.runtime.manifest.Manifest`.
        cameras: in the order of the network's inputs.
        state: names of the state's numbers, in order.
        resize: how training made the network's input from the camera's image.
        action: meaning of every action dimension.
        text: tokenization; None for a family without language.
    """

    family: str
    name: str = "policy"
    horizon: int = Field(default=1, ge=1, le=1000)
    dt_s: float = Field(gt=0, le=10)
    replan_s: float = Field(gt=0, le=10)
    execution: Execution = "latest"
    ensemble_coefficient: float = Field(default=0.01, ge=-10, le=10)
    cameras: tuple[CameraSpec, ...] = Field(min_length=1)
    state: tuple[str, ...] = ()
    resize: ResizeSpec
    action: ActionSpec
    text: TextSettings | None = None


class ActionNormalization(Settings):
    """``action = output * std + mean``, per dimension; ``std`` is 0 for what never moved."""

    mean: tuple[_Number, ...]
    std: tuple[_NotNegative, ...]

    @classmethod
    def identity(cls, dimensions: int) -> ActionNormalization:
        """Of a network whose outputs are already in physical units."""
        return cls(mean=(0.0,) * dimensions, std=(1.0,) * dimensions)


def validated(model: type[Model], raw: Mapping[str, Any], where: str) -> Model:
    """``raw`` as ``model``; ConfigError names every wrong key of ``where`` at once."""
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{where}: " + "; ".join(problems)) from error
