"""A folder in which LeRobot saved an ACT policy, read without LeRobot."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from jetvla.engines.checkpoint import read_state
from jetvla.engines.families.act.family import FAMILY
from jetvla.engines.families.act.lerobot_config import ACTION, STATE, LerobotConfig, read_config
from jetvla.engines.families.act.normalization import Normalizer, read_normalizers
from jetvla.engines.families.act.settings import ActSettings
from jetvla.engines.families.settings import ActionNormalization, validated
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import CheckpointError, ConfigError
from jetvla.runtime.manifest import ResizeSpec

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_IMAGES = "observation.images."


def camera_of(feature: str) -> str:
    """Name of the camera behind an image feature: ``observation.images.front`` is ``front``."""
    return feature.removeprefix(_IMAGES).removeprefix("observation.")


def read_lerobot(
    folder: Path,
    *,
    action: ActionSpec | None,
    state: tuple[str, ...] | None,
    resize: ResizeSpec | None,
    rate_hz: float | None,
) -> tuple[ActSettings, dict[str, Tensor], ActionNormalization]:
    """Settings, weights under the network's names, and how to un-normalise actions.

    Args:
        folder: with ``config.json``, ``model.safetensors`` and, of LeRobot 0.4 and later, its processor files.
        action, state, resize, rate_hz: what these files do not say: meaning of every action number, names of the
            state's numbers (not needed if the policy takes none), how images became the policy's input, and steps per
            second of the recordings.

    Raises:
        ConfigError: listing what must be declared; or naming every option that jetvla does not support.
        CheckpointError: if a file is missing or damaged.
    """
    config = read_config(folder / CONFIG)
    _check_stated(folder, config, action, state, resize, rate_hz)
    assert rate_hz is not None
    tensors = _read_weights(folder / WEIGHTS)
    features = (*config.input_features, *config.output_features)
    before, after = read_normalizers(folder, features, config.normalization_mapping, tensors)
    raw = {
        "name": folder.resolve().name,
        "horizon": config.chunk_size,
        "dt_s": 1 / rate_hz,
        "replan_s": config.n_action_steps / rate_hz,
        **_execution(config),
        "action": action,
        "state": state or (),
        "resize": resize,
        "model": config.sizes(),
        **_inputs(config, before),
    }
    actions = validated(
        ActionNormalization, after.inverse(ACTION, "ACTION", config.action_size).centred(), f"{folder}: the action"
    )
    return validated(ActSettings, raw, str(folder / CONFIG)), FAMILY.canonical(tensors), actions


def _execution(config: LerobotConfig) -> dict[str, Any]:
    """LeRobot's weights are ACT's, as the guard's: exp(-m i) with i = 0 for the oldest chunk."""
    if config.temporal_ensemble_coeff is None:
        return {}
    return {"execution": "temporal_ensemble", "ensemble_coefficient": config.temporal_ensemble_coeff}


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; it holds the policy's weights")
    return read_state(path)


def _check_stated(
    folder: Path,
    config: LerobotConfig,
    action: ActionSpec | None,
    state: tuple[str, ...] | None,
    resize: ResizeSpec | None,
    rate_hz: float | None,
) -> None:
    names = state if config.state_size else state or ()
    needed = {"--action-spec": action, "--state-names": names, "--resize": resize, "--fit": resize, "--rate": rate_hz}
    missing = [option for option, value in needed.items() if value is None]
    if missing:
        raise ConfigError(f"{folder} does not say everything; state {', '.join(missing)} (see docs/CHECKPOINTS.md)")
    problems = []
    if action is not None and len(action) != config.action_size:
        problems.append(f"--action-spec describes {len(action)} numbers, and the action has {config.action_size}")
    if names is not None and len(names) != config.state_size:
        problems.append(f"--state-names are {len(names)}, and the state has {config.state_size} numbers")
    if rate_hz is not None and not rate_hz > 0:
        problems.append(f"--rate is {rate_hz}; it must be above 0")
    if problems:
        raise ConfigError(f"{folder}: " + "; ".join(problems))


def _inputs(config: LerobotConfig, before: Normalizer) -> dict[str, Any]:
    """Cameras, and how images and state are normalised."""
    cameras, images = [], {}
    for feature, (_, height, width) in ((name, found.shape) for name, found in config.images.items()):
        affine = before.forward(feature, "VISUAL", 3)
        cameras.append({"name": camera_of(feature), "height": height, "width": width})
        images[camera_of(feature)] = affine.centred()
    if len(images) < len(cameras):
        raise ConfigError(f"input_features: two images would both be camera {' or '.join(images)}; rename one")
    if not config.state_size:
        return {"cameras": cameras, "images": images}
    state = before.forward(STATE, "STATE", config.state_size)
    return {"cameras": cameras, "images": images, "state_normalization": asdict(state)}
