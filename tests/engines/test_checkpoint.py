from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from jetvla.engines import sources
from jetvla.engines.checkpoint import load_checkpoint, save_checkpoint
from jetvla.engines.families.end_to_end.settings import TINY
from jetvla.engines.policy import Policy
from jetvla.engines.sources import Declared, open_policy, random_policy
from jetvla.runtime.errors import CheckpointError, ConfigError

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def act(policy: Policy, sentence: str = "pick up") -> np.ndarray:
    return policy.act({"front": IMAGE}, None, sentence)


@pytest.fixture
def folder(policy: Policy, tmp_path: Path) -> Path:
    save_checkpoint(policy, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_saving_and_loading_gives_the_same_policy(policy: Policy, folder: Path) -> None:
    loaded = load_checkpoint(folder)
    assert loaded.settings == policy.settings
    np.testing.assert_array_equal(act(loaded), act(policy))
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.yaml",
        "model.safetensors",
        "normalization.json",
        "tokenizer.json",
    ]


def test_one_error_lists_every_tensor_that_does_not_fit(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["action_head.0.bias"]
    state["stranger"] = torch.zeros(2)
    state["action_head.3.bias"] = torch.zeros(9)
    state["fusion.layers.0.norm1.weight"][0] = float("nan")
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    for line in (
        "missing: action_head.0.bias [24]",
        "unknown: stranger [2]",
        "mis-shaped: action_head.3.bias is [9], must be [7]",
        "not finite: fusion.layers.0.norm1.weight",
    ):
        assert line in str(caught.value)


class _Malice:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return os.mkdir, (self.victim,)


def test_a_malicious_pickle_is_refused_unrun(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": _Malice(tmp_path / "pwned")}, folder / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt is unsafe to load: it holds posix\.mkdir") as caught:
        load_checkpoint(folder)
    # What PyTorch itself says is how to load it all the same.
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("file", ["model.pt", "model.safetensors"])
def test_truncated_weights_are_damaged(folder: Path, policy: Policy, file: str, part: float) -> None:
    if file == "model.pt":
        (folder / "model.safetensors").unlink()
        torch.save(policy.network.state_dict(), folder / file)
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CheckpointError, match=rf"{file} is damaged.*copy"):
        load_checkpoint(folder)


def test_a_state_dict_and_nothing_else_is_taken_from_a_pt_file(policy: Policy, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor model\.pt"):
        load_checkpoint(folder)
    torch.save({"epoch": 3}, folder / "model.pt")
    with pytest.raises(CheckpointError, match="not a state dict"):
        load_checkpoint(folder)
    torch.save(policy.network.state_dict(), folder / "model.pt")
    np.testing.assert_array_equal(act(load_checkpoint(folder)), act(policy))


@pytest.mark.parametrize("width", [24_000_000, 24 * 10**18, 24 * 10**30])
def test_a_mistyped_width_takes_no_memory(folder: Path, width: int) -> None:
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    raw["model"]["hidden"] = width
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(CheckpointError, match=r"model\.safetensors( does not fit its conf|: no network has the conf)"):
        load_checkpoint(folder)


def test_weights_of_another_type_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.to(torch.int32) for name, tensor in weights.items()}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"of another type: action_head\.0\.bias is torch\.int32"):
        load_checkpoint(folder)


def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no checkpoint: it has neither config\.yaml nor"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("normalization.json", '{"mean": [0], "std": [1]}', CheckpointError, r"must have 7 numbers, not 1.*x, y, z"),
        ("normalization.json", '{"mean": [NaN], "std": [-1]}', ConfigError, r"mean\.0: .*std\.0: "),
        ("normalization.json", '{"mean": [1e39], "std": [Infinity]}', ConfigError, r"mean\.0: .*std\.0: "),
        ("normalization.json", "{", CheckpointError, "cannot read"),
        ("normalization.json", "[" * 100_000, CheckpointError, "cannot read"),
        ("tokenizer.json", "{}", CheckpointError, "not a tokenizers file"),
        ("tokenizer.json", "\udcff", CheckpointError, "cannot be read"),
        ("config.yaml", "- a list", ConfigError, "must hold keys and values"),
        ("config.yaml", "family: [", ConfigError, "is not YAML"),
        ("config.yaml", "family: other", ConfigError, "'other' is unknown; choose one of"),
        ("config.yaml", "\udcff", ConfigError, "is not YAML"),
    ],
)
def test_bad_files_are_named(folder: Path, file: str, content: str, error: type[Exception], message: str) -> None:
    (folder / file).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(error, match=message) as caught:
        load_checkpoint(folder)
    assert file in str(caught.value)


def test_weights_of_transformers_4_are_renamed(policy: Policy, folder: Path) -> None:
    old = {}
    for name, tensor in policy.network.state_dict().items():
        for new, was in (
            ("vision_encoder.layers.", "vision_encoder.encoder.layer."),
            (".attention.q_proj.", ".attention.attention.query."),
            (".attention.k_proj.", ".attention.attention.key."),
            (".attention.v_proj.", ".attention.attention.value."),
            (".attention.o_proj.", ".attention.output.dense."),
            (".mlp.fc1.", ".intermediate.dense."),
            (".mlp.fc2.", ".output.dense."),
        ):
            name = name.replace(new, was) if name.startswith("vision_encoder") else name
        old[name] = tensor
    old["vision_encoder.pooler.dense.weight"] = torch.zeros(16, 16)
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "model.pt")
    np.testing.assert_array_equal(act(load_checkpoint(folder)), act(policy))


def test_a_bare_pt_must_be_told_everything_it_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / "vla_best.pt").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        open_policy(tmp_path / "vla_best.pt", Declared(resize="pillow_bilinear", fit="stretch"))
    for option in ("--attention", "--action-spec", "--tokenizer", "--rate"):
        assert option in str(caught.value)
    assert "--resize" not in str(caught.value)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf"), 1e-300, 1e300])
def test_a_rate_that_no_robot_has_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"--rate \S+: give the actions per second, 0\.1 to 10000"):
        Declared(rate_hz=rate)


def test_what_a_folder_says_itself_is_not_stated_too(folder: Path) -> None:
    with pytest.raises(ConfigError, match="says everything that --tokenizer would; leave the option out"):
        open_policy(folder, Declared(tokenizer=folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="--tokenizer and --attention would"):
        open_policy(folder, Declared(tokenizer=folder / "tokenizer.json", attention="course"))


def test_a_bare_checkpoint_of_the_course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base size is too large for a test; everything else is as with the course's own weights."""
    for table, tiny in ((sources.PRESETS, TINY), (sources._IMAGE_SIZE, 32), (sources._MAX_TOKENS, 12)):
        monkeypatch.setitem(table, "base", tiny)
    made = random_policy("tiny", Declared(attention="course"))
    torch.save(made.network.state_dict(), tmp_path / "vla_best.pt")
    (tmp_path / "tokenizer.json").write_text(made.text.json)
    (tmp_path / "action.yaml").write_text(yaml.safe_dump(made.settings.action.model_dump(mode="json")))
    stated = Declared(
        action=tmp_path / "action.yaml",
        resize="opencv_linear",
        fit="stretch",
        attention="course",
        tokenizer=tmp_path / "tokenizer.json",
        rate_hz=10,
    )
    opened = open_policy(tmp_path / "vla_best.pt", stated)
    assert (opened.settings.name, opened.settings.replan_s) == ("vla_best", 0.1)
    assert opened.settings.resize.method == "opencv_linear"
    # The course trains on ImageNet's pixel statistics and on actions as they are.
    assert opened.settings.image.mean == (0.485, 0.456, 0.406)
    assert opened.actions.std == (1.0,) * 7
    for name, tensor in opened.network.state_dict().items():
        assert torch.equal(tensor, made.network.state_dict()[name])
    np.testing.assert_array_equal(act(opened), act(opened, "move to the red block"))


def test_what_is_declared_replaces_what_is_recorded(folder: Path) -> None:
    changed = load_checkpoint(folder, Declared(resize="opencv_area", fit="pad", rate_hz=20).overrides()).settings
    assert (changed.resize.method, changed.resize.fit, changed.dt_s) == ("opencv_area", "pad", 0.05)
    with pytest.raises(ConfigError, match="--resize and --fit belong together"):
        Declared(resize="opencv_area").overrides()
