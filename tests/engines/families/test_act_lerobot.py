"""LeRobot's folders: parity with LeRobot itself, both layouts of its statistics, and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jetvla.engines.checkpoint import load_checkpoint, save_checkpoint
from jetvla.engines.families.act.lerobot import read_lerobot
from jetvla.engines.families.family import Batch
from jetvla.engines.lerobot import load_lerobot
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import CheckpointError, ConfigError
from jetvla.runtime.manifest import ResizeSpec

REAL = Path(__file__).resolve().parents[4] / "shared" / "checkpoints" / "lerobot-act-g1"
BEFORE, AFTER = "policy_preprocessor", "policy_postprocessor"
Config = dict[str, Any]
SaveAct = Callable[..., Path]


def changed(config: Config, **changes: Any) -> Config:
    return {**copy.deepcopy(config), **changes}


def edit(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the steps of a processor file."""
    raw = json.loads(path.read_text())
    change(raw["steps"])
    path.write_text(json.dumps(raw))


def observation() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (64, 64, 3), np.uint8), np.array([0.4, -0.3, 0.3], np.float32)


@pytest.mark.skipif(not REAL.is_dir(), reason="no policy trained by LeRobot at ../shared/checkpoints/lerobot-act-g1")
def test_a_trained_policy_acts_as_lerobot_does() -> None:
    joint = {"quantity": "joint", "unit": "rad", "semantics": "absolute"}
    names = [f"joint{i}" for i in range(26)]
    action = ActionSpec.model_validate({"dimensions": [{"name": name, **joint} for name in names]})
    policy = load_lerobot(REAL, action, tuple(names), ResizeSpec(method="opencv_area", fit="stretch"), 30.0)
    assert (policy.settings.horizon, policy.settings.replan_s) == (20, pytest.approx(20 / 30))
    with np.load(REAL / "expected.npz") as expected:
        images, states, theirs = (expected[name] for name in ("image", "state", "actions"))
    batch = Batch({"cam_high": torch.from_numpy(images)}, torch.from_numpy(states), None, None)
    with torch.no_grad():
        normalised = policy.family.act(policy.network, policy.settings, batch).numpy()
    actions = normalised * np.float32(policy.actions.std) + np.float32(policy.actions.mean)
    # Measured: 2.4e-7, which is one or two steps of float32.
    assert np.abs(actions - theirs).max() <= 1e-5


@pytest.mark.parametrize("early", [False, True])
def test_a_folder_of_either_layout_becomes_the_same_policy(
    tmp_path: Path, save_act: SaveAct, act_config: Config, stated: Config, early: bool
) -> None:
    folder = save_act(tmp_path / "policy", act_config, early=early)
    policy = load_lerobot(folder, *stated.values())
    assert policy.settings.family == "act"
    assert policy.settings.name == "policy"
    assert (policy.settings.horizon, policy.settings.dt_s, policy.settings.replan_s) == (5, 0.05, 0.1)
    assert [(c.name, c.height, c.width) for c in policy.settings.cameras] == [("front", 64, 64)]
    assert policy.text is None
    image, state = observation()
    actions = policy.act({"front": image}, state, "")
    assert actions.shape == (5, 2)
    mean, std = np.float32([0.1, -0.2, 0.3]), np.float32([1.5, 0.25, 0.0])
    pixels = (image.transpose(2, 0, 1) / 255 - np.reshape([0.5, 0.4, 0.3], (3, 1, 1))) / np.reshape(
        [0.2, 0.3, 0.4], (3, 1, 1)
    )
    numbers = (state - mean) / (std + np.float32(1e-8))
    with torch.no_grad():
        inputs = (torch.from_numpy(x.astype(np.float32))[None] for x in (pixels, numbers))
        normalised = policy.network.get_submodule("model")(*inputs)[0].numpy()
    np.testing.assert_allclose(actions, normalised * [0.5, 0.0] + [1.0, -1.0], atol=2e-5)
    assert np.ptp(actions[:, 1]) == 0


def lerobot_forward(mode: str, x: Tensor, statistics: Mapping[str, Tensor], early: bool) -> Tensor:
    """What LeRobot computes, written as it is documented."""
    if mode == "IDENTITY":
        return x
    if mode == "MEAN_STD":
        return (x - statistics["mean"]) / (statistics["std"] + 1e-8)
    low, high = (statistics[name] for name in (("min", "max") if mode == "MIN_MAX" else ("q01", "q99")))
    if early:
        return (x - low) / (high - low + 1e-8) * 2 - 1
    return 2 * (x - low) / torch.where(high == low, 1e-8, high - low) - 1


def lerobot_inverse(mode: str, y: Tensor, statistics: Mapping[str, Tensor], early: bool) -> Tensor:
    if mode == "IDENTITY":
        return y
    if mode == "MEAN_STD":
        return y * statistics["std"] + statistics["mean"]
    low, high = (statistics[name] for name in (("min", "max") if mode == "MIN_MAX" else ("q01", "q99")))
    span = high - low if early else torch.where(high == low, 1e-8, high - low)
    return (y + 1) / 2 * span + low


@pytest.mark.parametrize(
    ("mode", "early"),
    [
        ("MEAN_STD", False),
        ("MEAN_STD", True),
        ("MIN_MAX", False),
        ("MIN_MAX", True),
        ("IDENTITY", False),
        ("IDENTITY", True),
        ("QUANTILES", False),
    ],
)
def test_every_normalisation_is_lerobot_s(
    tmp_path: Path,
    save_act: SaveAct,
    act_config: Config,
    act_statistics: dict[str, Tensor],
    stated: Config,
    mode: str,
    early: bool,
) -> None:
    modes = {"VISUAL": "IDENTITY" if mode == "QUANTILES" else mode, "STATE": mode, "ACTION": mode}
    folder = save_act(tmp_path, changed(act_config, normalization_mapping=modes), early=early)
    settings, _, actions = read_lerobot(folder, **stated)

    def of(feature: str) -> dict[str, Tensor]:
        found = {k.removeprefix(f"{feature}."): v for k, v in act_statistics.items() if k.startswith(f"{feature}.")}
        return {name: value.double().flatten() for name, value in found.items()}

    # The last state number is where it always was, and a little beside it.
    for x in (torch.tensor([0.3, 0.7, 0.3]).double(), torch.tensor([0.9, 0.1, 0.2999]).double()):
        own = settings.state_normalization
        mean, std, offset = (torch.tensor(part).double() for part in (own.mean, own.std, own.offset))
        expected = lerobot_forward(mode, x, of("observation.state"), early)
        torch.testing.assert_close((x - mean) / std + offset, expected, rtol=1e-6, atol=1e-7)
        image = settings.images["front"]
        expected = lerobot_forward(modes["VISUAL"], x, of("observation.images.front"), early)
        centred = (x - torch.tensor(image.mean).double()) / torch.tensor(image.std).double()
        torch.testing.assert_close(centred, expected, rtol=1e-6, atol=1e-7)
    y = torch.tensor([0.5, -0.25]).double()
    mean, std = torch.tensor(actions.mean).double(), torch.tensor(actions.std).double()
    torch.testing.assert_close(y * std + mean, lerobot_inverse(mode, y, of("action"), early), rtol=1e-6, atol=1e-7)


def test_a_saved_policy_is_the_same_policy(
    tmp_path: Path, save_act: SaveAct, act_config: Config, stated: Config
) -> None:
    policy = load_lerobot(save_act(tmp_path / "theirs", act_config), *stated.values())
    save_checkpoint(policy, tmp_path / "ours")
    again = load_checkpoint(tmp_path / "ours")
    assert again.settings == policy.settings
    image, state = observation()
    np.testing.assert_array_equal(again.act({"front": image}, state, ""), policy.act({"front": image}, state, ""))


@pytest.mark.parametrize(("coefficient", "execution"), [(None, ("latest", 0.01)), (0.05, ("temporal_ensemble", 0.05))])
def test_a_temporal_ensemble_stays_one(
    tmp_path: Path,
    save_act: SaveAct,
    act_config: Config,
    stated: Config,
    coefficient: float | None,
    execution: tuple[str, float],
) -> None:
    config = changed(act_config, temporal_ensemble_coeff=coefficient, n_action_steps=1)
    settings, _, _ = read_lerobot(save_act(tmp_path, config), **stated)
    assert (settings.execution, settings.ensemble_coefficient) == execution
    assert settings.replan_s == settings.dt_s


def test_cameras_are_called_as_in_the_recordings(
    tmp_path: Path, save_act: SaveAct, act_config: Config, act_statistics: dict[str, Tensor], stated: Config
) -> None:
    image = {"type": "VISUAL", "shape": [3, 64, 64]}
    features = {**act_config["input_features"], "observation.images.wrist": image, "observation.image": image}
    statistics = dict(act_statistics)
    for name, mean in (("observation.images.wrist", 0.25), ("observation.image", 0.75)):
        statistics[f"{name}.mean"], statistics[f"{name}.std"] = torch.full((3, 1, 1), mean), torch.ones(3, 1, 1)
    folder = save_act(tmp_path, changed(act_config, input_features=features), statistics=statistics)
    settings, _, _ = read_lerobot(folder, **stated)
    assert [camera.name for camera in settings.cameras] == ["front", "wrist", "image"]
    assert settings.images["wrist"].mean == (0.25,) * 3
    assert settings.images["image"].mean == (0.75,) * 3
    same = {**act_config["input_features"], "observation.front": image}
    statistics |= {"observation.front.mean": torch.ones(3), "observation.front.std": torch.ones(3)}
    folder = save_act(tmp_path, changed(act_config, input_features=same), statistics=statistics)
    with pytest.raises(ConfigError, match="two images would both be camera front"):
        read_lerobot(folder, **stated)


def test_a_policy_without_state_needs_no_names(
    tmp_path: Path, save_act: SaveAct, act_config: Config, act_weights: dict[str, Tensor], stated: Config
) -> None:
    features = {name: f for name, f in act_config["input_features"].items() if "images" in name}
    weights = {name: tensor for name, tensor in act_weights.items() if "robot_state" not in name}
    weights["model.encoder_1d_feature_pos_embed.weight"] = torch.ones(1, 16)
    folder = save_act(tmp_path, changed(act_config, input_features=features), weights=weights)
    policy = load_lerobot(folder, *{**stated, "state": None}.values())
    assert policy.act({"front": observation()[0]}, None, "").shape == (5, 2)
    with pytest.raises(ConfigError, match="--state-names are 3, and the state has 0 numbers"):
        read_lerobot(folder, **stated)


def test_one_error_lists_everything_that_must_be_stated(
    tmp_path: Path, save_act: SaveAct, act_config: Config, stated: Config
) -> None:
    folder = save_act(tmp_path, act_config)
    with pytest.raises(ConfigError, match="state --action-spec, --state-names, --resize, --fit, --rate") as caught:
        read_lerobot(folder, action=None, state=None, resize=None, rate_hz=None)
    assert str(folder) in str(caught.value)
    with pytest.raises(ConfigError, match=r"state --rate \(see"):
        read_lerobot(folder, **{**stated, "rate_hz": None})


def test_another_number_of_actions_or_states_is_refused(
    tmp_path: Path, save_act: SaveAct, act_config: Config, stated: Config
) -> None:
    joints = stated["action"].dimensions
    wider = ActionSpec(dimensions=(*joints, joints[0].model_copy(update={"name": "another"})))
    with pytest.raises(ConfigError) as caught:
        read_lerobot(save_act(tmp_path, act_config), **{**stated, "action": wider, "state": ("a",), "rate_hz": 0.0})
    assert "--action-spec describes 3 numbers, and the action has 2" in str(caught.value)
    assert "--state-names are 1, and the state has 3 numbers" in str(caught.value)
    assert "--rate is 0.0; it must be above 0" in str(caught.value)


VECTOR = {"type": "STATE", "shape": [3]}
IMAGE = {"type": "VISUAL", "shape": [3, 64, 64]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "diffusion"}, "type is 'diffusion'; of LeRobot's policies jetvla knows 'act' only"),
        ({"n_obs_steps": 2}, "n_obs_steps: Input should be 1"),
        ({"use_peft": True}, "use_peft: Input should be False"),
        ({"vision_backbone": "convnext"}, "vision_backbone: Input should be 'resnet18'"),
        ({"replace_final_stride_with_dilation": True}, "resnet18 cannot be dilated"),
        ({"feedforward_activation": "glu"}, "feedforward_activation: Input should be 'relu' or 'gelu'"),
        ({"n_heads": 3}, "heads 3 does not divide hidden 16"),
        ({"n_action_steps": 6}, "n_action_steps 6 is above chunk_size 5"),
        ({"temporal_ensemble_coeff": 0.01}, "temporal_ensemble_coeff is 0.01 and n_action_steps 2: .*to 1, as LeRobot"),
        ({"normalization_mapping": {"STATE": "ROBUST"}}, "normalization_mapping.STATE: Input should be 'IDENTITY'"),
        ({"new_option": 1, "other": 2}, "does not know new_option, other, and so cannot tell whether the result"),
        ({"input_features": {"observation.state": VECTOR}}, "input_features: there is no image"),
        (
            {"input_features": {"a": IMAGE, "observation.environment_state": {"type": "ENV", "shape": [3]}}},
            "jetvla gives a policy images and observation.state, not observation.environment_state",
        ),
        ({"input_features": {"a": IMAGE, "observation.velocity": VECTOR}}, "not observation.velocity"),
        ({"input_features": {"depth": {"type": "VISUAL", "shape": [1, 64, 64]}}}, "not depth"),
        ({"output_features": {"action": {"type": "ACTION", "shape": [2, 2]}}}, "must be one vector, 'action'"),
        ({"output_features": {"hands": {"type": "ACTION", "shape": [2]}}}, "must be one vector, 'action', not hands"),
    ],
)
def test_options_that_jetvla_does_not_follow_are_refused_by_name(
    tmp_path: Path, act_config: Config, stated: Config, changes: Config, message: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(changed(act_config, **changes)))
    with pytest.raises(ConfigError, match=message) as caught:
        read_lerobot(tmp_path, **stated)
    assert str(tmp_path / "config.json") in str(caught.value)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (BEFORE, lambda steps: steps[0]["config"].update(rename_map={"a": "b"}), "rename_map {'a': 'b'}"),
        (BEFORE, lambda steps: steps[2]["config"].update(float_dtype="float16"), "float_dtype 'float16'"),
        (BEFORE, lambda steps: steps.append({"registry_name": "delta_action"}), r"does \(delta_action\)"),
        (BEFORE, lambda steps: steps.append({"class": "my.Crop"}), r"does \(my.Crop\)"),
        (BEFORE, lambda steps: steps.append(steps[3]), "2 of normalizer_processor"),
        (AFTER, lambda steps: steps.pop(0), "0 of unnormalizer_processor"),
        (BEFORE, lambda steps: steps[3]["config"]["norm_map"].update(STATE="ROBUST"), "'ROBUST' is unknown"),
        (BEFORE, lambda steps: steps[3].update(state_file="other.safetensors"), "other.safetensors is missing"),
        (BEFORE, lambda steps: steps[3].update(state_file="../config.json"), "config.json is missing"),
        (BEFORE, lambda steps: steps.append("x"), "no list of steps"),
        (AFTER, None, "policy_postprocessor.json is missing"),
        (BEFORE, None, "policy_preprocessor.json is missing"),
    ],
)
def test_processors_that_do_something_else_are_refused(
    tmp_path: Path,
    save_act: SaveAct,
    act_config: Config,
    stated: Config,
    file: str,
    change: Callable[[list[dict[str, Any]]], object] | None,
    message: str,
) -> None:
    folder = save_act(tmp_path, act_config)
    if change is None:
        (folder / f"{file}.json").unlink()
    else:
        edit(folder / f"{file}.json", change)
    with pytest.raises((ConfigError, CheckpointError), match=message) as caught:
        read_lerobot(folder, **stated)
    assert file in str(caught.value)


def test_a_processor_may_leave_observations_as_they_are(
    tmp_path: Path, save_act: SaveAct, act_config: Config, stated: Config
) -> None:
    folder = save_act(tmp_path, act_config)
    only = ["observation.images.front"]
    edit(folder / f"{BEFORE}.json", lambda steps: steps[3]["config"].update(normalize_observation_keys=only))
    settings, _, actions = read_lerobot(folder, **stated)
    state = settings.state_normalization
    assert (state.mean, state.std, state.offset) == ((0.0,) * 3, (1.0,) * 3, (0.0,) * 3)
    assert settings.images["front"].std == pytest.approx((0.2, 0.3, 0.4))
    assert actions.std == (0.5, 0.0)


@pytest.mark.parametrize(
    ("early", "key", "value", "message"),
    [
        (False, "action.std", None, "no action.std, which normalises action"),
        (True, "observation.state.mean", None, "no normalize_inputs.buffer_observation_state.mean"),
        (False, "observation.state.mean", torch.zeros(2), "must be 3 finite numbers"),
        (False, "observation.images.front.std", torch.full((3, 1, 1), torch.inf), "must be 3 finite numbers"),
        (True, "action.mean", torch.tensor([torch.nan, 0.0]), "buffer_action.mean must be 2 finite numbers"),
    ],
)
def test_statistics_must_be_there_and_finite(
    tmp_path: Path,
    save_act: SaveAct,
    act_config: Config,
    act_statistics: dict[str, Tensor],
    stated: Config,
    early: bool,
    key: str,
    value: Tensor | None,
    message: str,
) -> None:
    statistics = {name: tensor for name, tensor in act_statistics.items() if name != key}
    if value is not None:
        statistics[key] = value
    with pytest.raises(CheckpointError, match=message):
        read_lerobot(save_act(tmp_path, act_config, early=early, statistics=statistics), **stated)


def test_one_error_lists_every_tensor_that_does_not_fit(
    tmp_path: Path, save_act: SaveAct, act_config: Config, act_weights: dict[str, Tensor], stated: Config
) -> None:
    weights = dict(act_weights)
    del weights["model.encoder.layers.1.self_attn.in_proj_weight"]
    weights["model.stranger"] = torch.zeros(2)
    weights["model.action_head.bias"] = torch.zeros(3)
    weights["model.backbone.bn1.running_var"] = torch.full((64,), torch.nan)
    with pytest.raises(CheckpointError) as caught:
        load_lerobot(save_act(tmp_path, act_config, weights=weights), *stated.values())
    for line in (
        "missing: model.encoder.layers.1.self_attn.in_proj_weight [48, 16]",
        "unknown: model.stranger [2]",
        "mis-shaped: model.action_head.bias is [3], must be [2]",
        "not finite: model.backbone.bn1.running_var",
        "(4 tensors)",
    ):
        assert line in str(caught.value)


def test_damaged_files_are_named(tmp_path: Path, save_act: SaveAct, act_config: Config, stated: Config) -> None:
    folder = save_act(tmp_path, act_config)
    for name, message in (
        ("policy_preprocessor_step_3_normalizer_processor.safetensors", "is damaged"),
        ("policy_postprocessor.json", "cannot read"),
        ("model.safetensors", "is damaged"),
        ("config.json", "cannot read"),
    ):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=message) as caught:
            read_lerobot(folder, **stated)
        assert str(folder / name) in str(caught.value)
        (folder / name).write_bytes(content)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing; it holds the policy's weights"):
        read_lerobot(folder, **stated)


def test_the_variational_encoder_is_left_out_even_if_it_is_broken(
    tmp_path: Path, save_act: SaveAct, act_config: Config, act_weights: dict[str, Tensor], stated: Config
) -> None:
    weights = {**act_weights, "model.vae_encoder_pos_enc": torch.full((1, 7, 16), torch.nan)}
    _, state, _ = read_lerobot(save_act(tmp_path, act_config, weights=weights, early=True), **stated)
    assert "model.action_head.bias" in state
    assert not [name for name in state if "vae" in name or "normalize" in name]
