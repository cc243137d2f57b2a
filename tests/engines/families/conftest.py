"""Folders as LeRobot saves an ACT policy, small and with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from jetvla.engines.families.act.backbone import FrozenBatchNorm
from jetvla.engines.families.act.network import ActNetwork
from jetvla.engines.families.act.settings import ActSettings, ActSizes
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.manifest import ResizeSpec

PIXELS, STATE, ACTION, HORIZON = 64, 3, 2, 5
Stated = dict[str, Any]
SaveAct = Callable[..., Path]


@pytest.fixture
def stated() -> Stated:
    """What LeRobot does not record, for :func:`read_lerobot`."""
    joint = {"quantity": "joint", "unit": "rad", "semantics": "absolute"}
    action = {"dimensions": [{"name": f"joint{i}", **joint} for i in range(ACTION)]}
    return {
        "action": ActionSpec.model_validate(action),
        "state": tuple(f"joint{i}" for i in range(STATE)),
        "resize": ResizeSpec(method="opencv_area", fit="stretch"),
        "rate_hz": 20.0,
    }


@pytest.fixture(scope="session")
def act_settings() -> Callable[..., ActSettings]:
    """Settings of a small policy; keywords replace some, and those of ``model`` some sizes."""

    def make(model: Mapping[str, Any] | None = None, cameras: tuple[str, ...] = ("front",), **keys: Any) -> ActSettings:
        sizes = {"hidden": 16, "heads": 2, "feed_forward": 24, "encoder_layers": 2, "latent": 4, **(model or {})}
        joint = {"quantity": "joint", "unit": "rad", "semantics": "absolute"}
        raw = {
            "horizon": HORIZON,
            "dt_s": 0.05,
            "replan_s": 0.1,
            "cameras": [{"name": name, "height": PIXELS, "width": PIXELS} for name in cameras],
            "state": [f"joint{i}" for i in range(STATE)],
            "resize": {"method": "opencv_area", "fit": "stretch"},
            "action": {"dimensions": [{"name": f"joint{i}", **joint} for i in range(ACTION)]},
            "images": {
                n: {"mean": (0.5 - 0.4 * i, 0.4, 0.3), "std": (0.2, 0.3, 0.4 + 0.8 * i)} for i, n in enumerate(cameras)
            },
            "state_normalization": {"mean": (0.1, 0.2, 0.3), "std": (1.0, 2.0, 0.5), "offset": (0.0, -1.0, 0.5)},
            "model": ActSizes.model_validate(sizes),
        }
        return ActSettings.model_validate({**raw, **keys})

    return make


@pytest.fixture(scope="session")
def random_act() -> Callable[[ActSettings], ActNetwork]:
    """A network with random weights, random batch statistics and biases, and outputs that depend on its inputs."""

    def make(settings: ActSettings) -> ActNetwork:
        torch.manual_seed(0)
        network = ActNetwork(settings).eval().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, FrozenBatchNorm):
                # Scales near 1 over many layers: activations neither vanish nor explode.
                module.weight.uniform_(0.7, 1.0)
                module.running_var.uniform_(0.8, 1.4)
                module.bias.normal_(std=0.1)
                module.running_mean.normal_(std=0.1)
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.2)
        return network

    return make


@pytest.fixture(scope="session")
def act_weights(act_settings: Callable[..., ActSettings], random_act: Callable[..., ActNetwork]) -> dict[str, Tensor]:
    """Tensors of ``model.safetensors``, with two of the variational encoder."""
    own = {name: tensor.clone() for name, tensor in random_act(act_settings()).state_dict().items()}
    unused = {
        "model.vae_encoder_pos_enc": torch.randn(1, 7, 16),
        "model.vae_encoder.layers.0.norm1.bias": torch.ones(16),
    }
    return {**own, **unused}


@pytest.fixture(scope="session")
def act_config() -> dict[str, Any]:
    """``config.json``, as LeRobot 0.4 writes it."""
    return {
        "type": "act",
        "n_obs_steps": 1,
        "input_features": {
            "observation.state": {"type": "STATE", "shape": [STATE]},
            "observation.images.front": {"type": "VISUAL", "shape": [3, PIXELS, PIXELS]},
        },
        "output_features": {"action": {"type": "ACTION", "shape": [ACTION]}},
        "device": "cuda",
        "use_amp": False,
        "push_to_hub": True,
        "repo_id": "someone/something",
        "chunk_size": HORIZON,
        "n_action_steps": 2,
        "normalization_mapping": {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
        "vision_backbone": "resnet18",
        "pretrained_backbone_weights": "ResNet18_Weights.IMAGENET1K_V1",
        "replace_final_stride_with_dilation": False,
        "pre_norm": False,
        "dim_model": 16,
        "n_heads": 2,
        "dim_feedforward": 24,
        "feedforward_activation": "relu",
        "n_encoder_layers": 2,
        "n_decoder_layers": 1,
        "use_vae": True,
        "latent_dim": 4,
        "n_vae_encoder_layers": 2,
        "temporal_ensemble_coeff": None,
        "dropout": 0.1,
        "kl_weight": 10.0,
        "optimizer_lr": 1e-05,
    }


@pytest.fixture(scope="session")
def act_statistics() -> dict[str, Tensor]:
    """By LeRobot's names; the last number of the state and of the action never moved."""
    return {
        "observation.state.mean": torch.tensor([0.1, -0.2, 0.3]),
        "observation.state.std": torch.tensor([1.5, 0.25, 0.0]),
        "observation.state.min": torch.tensor([-1.0, -2.0, 0.3]),
        "observation.state.max": torch.tensor([3.0, 1.0, 0.3]),
        "observation.state.q01": torch.tensor([-0.5, -1.0, 0.3]),
        "observation.state.q99": torch.tensor([2.0, 0.5, 0.3]),
        "observation.images.front.mean": torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1),
        "observation.images.front.std": torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1),
        "observation.images.front.min": torch.zeros(3, 1, 1),
        "observation.images.front.max": torch.tensor([1.0, 0.9, 0.8]).view(3, 1, 1),
        "action.mean": torch.tensor([1.0, -1.0]),
        "action.std": torch.tensor([0.5, 0.0]),
        "action.min": torch.tensor([-4.0, 2.0]),
        "action.max": torch.tensor([6.0, 2.0]),
        "action.q01": torch.tensor([-2.0, 2.0]),
        "action.q99": torch.tensor([4.0, 2.0]),
    }


@pytest.fixture(scope="session")
def save_act(act_weights: dict[str, Tensor], act_statistics: dict[str, Tensor]) -> SaveAct:
    """``save(folder, config, early=False, weights=..., statistics=...)`` writes what LeRobot 0.4, or before, writes."""

    def save(
        folder: Path,
        config: Mapping[str, Any],
        early: bool = False,
        weights: Mapping[str, Tensor] = act_weights,
        statistics: Mapping[str, Tensor] = act_statistics,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=4))
        if early:
            weights = {**weights, **_buffers(statistics, config["normalization_mapping"])}
        else:
            _save_processors(folder, config, statistics)
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
        return folder

    return save


def _buffers(statistics: Mapping[str, Tensor], modes: Mapping[str, str]) -> dict[str, Tensor]:
    """LeRobot before 0.4 kept the statistics of the chosen mode, and those of the action twice more."""
    buffers = {}
    for key, tensor in statistics.items():
        feature, statistic = key.rsplit(".", 1)
        kind = "ACTION" if feature == "action" else "STATE" if feature == "observation.state" else "VISUAL"
        if statistic not in {"MEAN_STD": ("mean", "std"), "MIN_MAX": ("min", "max")}.get(modes[kind], ()):
            continue
        owners = ("normalize_targets", "unnormalize_outputs") if kind == "ACTION" else ("normalize_inputs",)
        for owner in owners:
            buffers[f"{owner}.buffer_{feature.replace('.', '_')}.{statistic}"] = tensor.clone()
    return buffers


def _save_processors(folder: Path, config: Mapping[str, Any], statistics: Mapping[str, Tensor]) -> None:
    features = {**config["input_features"], **config["output_features"]}
    common = {"eps": 1e-8, "features": features, "norm_map": config["normalization_mapping"]}
    device = {"registry_name": "device_processor", "config": {"device": "cpu", "float_dtype": None}}
    before = "policy_preprocessor_step_3_normalizer_processor.safetensors"
    after = "policy_postprocessor_step_0_unnormalizer_processor.safetensors"
    steps = {
        "policy_preprocessor": [
            {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
            {"registry_name": "to_batch_processor", "config": {}},
            device,
            {"registry_name": "normalizer_processor", "config": common, "state_file": before},
        ],
        "policy_postprocessor": [
            {"registry_name": "unnormalizer_processor", "config": common, "state_file": after},
            device,
        ],
    }
    for name, listed in steps.items():
        (folder / f"{name}.json").write_text(json.dumps({"name": name, "steps": listed}))
    save_file(dict(statistics), folder / before)
    save_file(dict(statistics), folder / after)
