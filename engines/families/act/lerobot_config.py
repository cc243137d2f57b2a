"""``config.json`` of an ACT policy, as LeRobot writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from jetvla.engines.families.act.normalization import read_json
from jetvla.engines.families.act.settings import Activation, ActSizes, Backbone
from jetvla.engines.families.settings import validated
from jetvla.runtime.errors import ConfigError

STATE, ACTION = "observation.state", "action"
_Mode = Literal["IDENTITY", "MEAN_STD", "MIN_MAX", "QUANTILES", "QUANTILE10"]
# Options that have no part in what a trained policy computes: of training, and of where it is kept. With use_vae there
# are more weights, none of which is used after training; use_amp only makes it less precise.
_NEUTRAL = {
    *("type", "device", "use_amp", "use_vae", "n_vae_encoder_layers", "dropout", "kl_weight"),
    *("optimizer_lr", "optimizer_weight_decay", "optimizer_lr_backbone", "pretrained_backbone_weights"),
    *("push_to_hub", "repo_id", "private", "tags", "license", "pretrained_path", "pretrained_revision"),
}


class Feature(BaseModel):
    type: Literal["VISUAL", "STATE", "ACTION", "ENV", "REWARD", "LANGUAGE"]
    shape: tuple[int, ...]


class LerobotConfig(BaseModel):
    """``config.json``, as far as it changes results. Defaults are LeRobot's."""

    model_config = ConfigDict(frozen=True)

    input_features: dict[str, Feature]
    output_features: dict[str, Feature]
    normalization_mapping: dict[str, _Mode] = {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
    n_obs_steps: Literal[1] = 1
    chunk_size: int = Field(default=100, ge=1)
    n_action_steps: int = Field(default=100, ge=1)
    use_peft: Literal[False] = False
    vision_backbone: Backbone = "resnet18"
    replace_final_stride_with_dilation: bool = False
    pre_norm: bool = False
    dim_model: int = 512
    n_heads: int = 8
    dim_feedforward: int = 3200
    feedforward_activation: Activation = "relu"
    n_encoder_layers: int = 4
    n_decoder_layers: int = 1
    latent_dim: int = 32
    temporal_ensemble_coeff: float | None = None

    @model_validator(mode="after")
    def _possible(self) -> LerobotConfig:
        if self.temporal_ensemble_coeff is not None and self.n_action_steps != 1:
            raise ValueError(
                f"temporal_ensemble_coeff is {self.temporal_ensemble_coeff} and n_action_steps {self.n_action_steps}: "
                "overlapping chunks are averaged only if each step makes one; set n_action_steps to 1, as LeRobot does"
            )
        if self.n_action_steps > self.chunk_size:
            raise ValueError(f"n_action_steps {self.n_action_steps} is above chunk_size {self.chunk_size}")
        strange = [name for name, feature in self.input_features.items() if not _supported(name, feature)]
        if strange:
            raise ValueError(f"input_features: jetvla gives a policy images and {STATE}, not {', '.join(strange)}")
        if set(self.output_features) != {ACTION} or len(self.output_features[ACTION].shape) != 1:
            raise ValueError(f"output_features must be one vector, {ACTION!r}, not {', '.join(self.output_features)}")
        if not self.images:
            raise ValueError("input_features: there is no image")
        self.sizes()
        return self

    @property
    def images(self) -> dict[str, Feature]:
        """Image features by name, in the policy's order."""
        return {name: feature for name, feature in self.input_features.items() if feature.type == "VISUAL"}

    @property
    def state_size(self) -> int:
        """Numbers in the state; 0 if the policy takes none."""
        return self.input_features[STATE].shape[0] if STATE in self.input_features else 0

    @property
    def action_size(self) -> int:
        return self.output_features[ACTION].shape[0]

    def sizes(self) -> ActSizes:
        """The network's; a ValueError names sizes that do not go together."""
        return ActSizes(
            backbone=self.vision_backbone,
            dilated=self.replace_final_stride_with_dilation,
            hidden=self.dim_model,
            heads=self.n_heads,
            feed_forward=self.dim_feedforward,
            activation=self.feedforward_activation,
            pre_norm=self.pre_norm,
            encoder_layers=self.n_encoder_layers,
            decoder_layers=self.n_decoder_layers,
            latent=self.latent_dim,
        )


def _supported(name: str, feature: Feature) -> bool:
    if feature.type == "VISUAL":
        return len(feature.shape) == 3 and feature.shape[0] == 3
    return name == STATE and feature.type == "STATE" and len(feature.shape) == 1


def read_config(path: Path) -> LerobotConfig:
    """ConfigError names every option that jetvla does not know or cannot follow."""
    raw = read_json(path)
    if raw.get("type") != "act":
        raise ConfigError(f"{path}: type is {raw.get('type')!r}; of LeRobot's policies jetvla knows 'act' only")
    known = {name: value for name, value in raw.items() if name in LerobotConfig.model_fields}
    strange = [name for name in raw if name not in known and name not in _NEUTRAL]
    if strange:
        raise ConfigError(
            f"{path}: jetvla does not know {', '.join(strange)}, and so cannot tell whether the result depends on it; "
            "remove it if it does not"
        )
    return validated(LerobotConfig, known, str(path))
