"""Sizes of an ACT policy, and how its inputs are normalised."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from jetvla.engines.families.settings import ImageNormalization, PolicySettings, Settings

Activation = Literal["relu", "gelu"]
Backbone = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


class ActSizes(Settings):
    """The network; the defaults are LeRobot's.

    Attributes:
        backbone: a ResNet (He et al. 2015) with frozen batch normalisation.
        dilated: the last ResNet layer keeps its input's resolution and dilates its kernels.
        hidden: width of the transformer.
        pre_norm: normalise before attention and feed-forward, and not after.
        latent: size of the variational latent, which is zero at inference.
    """

    backbone: Backbone = "resnet18"
    dilated: bool = False
    hidden: int = Field(default=512, gt=0)
    heads: int = Field(default=8, gt=0)
    feed_forward: int = Field(default=3200, gt=0)
    activation: Activation = "relu"
    pre_norm: bool = False
    encoder_layers: int = Field(default=4, gt=0, le=1000)
    decoder_layers: int = Field(default=1, gt=0, le=1000)
    latent: int = Field(default=32, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> ActSizes:
        if self.hidden % self.heads:
            raise ValueError(f"heads {self.heads} does not divide hidden {self.hidden}")
        if self.hidden % 4:
            raise ValueError(f"hidden is {self.hidden}; the position embedding needs a multiple of 4")
        if self.dilated and self.backbone in ("resnet18", "resnet34"):
            raise ValueError(f"{self.backbone} cannot be dilated: only ResNets of 50 layers and more can")
        return self


class StateNormalization(Settings):
    """``(state - mean) / std + offset``, per number.

    The offset is not part of the mean: of a number that never moved, the std is too small to be told from it.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()


class ActSettings(PolicySettings):
    """``config.yaml`` of this family.

    Attributes:
        images: pixel normalisation by camera.
    """

    family: Literal["act"] = "act"
    text: None = None
    images: dict[str, ImageNormalization]
    state_normalization: StateNormalization = StateNormalization()
    model: ActSizes = ActSizes()

    @model_validator(mode="after")
    def _consistent(self) -> ActSettings:
        names = [camera.name for camera in self.cameras]
        if sorted(names) != sorted(self.images):
            raise ValueError(f"images: needs one entry for each camera ({', '.join(names)}) and no other")
        if len({(camera.height, camera.width) for camera in self.cameras}) > 1:
            raise ValueError("cameras: all must have the same height and width")
        state = self.state_normalization
        if {len(state.mean), len(state.std), len(state.offset)} != {len(self.state)}:
            raise ValueError(f"state_normalization: each must have {len(self.state)} numbers, as state has")
        stds = [*state.std, *(s for image in self.images.values() for s in image.std)]
        if any(std == 0 for std in stds):
            raise ValueError("a std of an image or a state is 0")
        return self
