"""``jetvla train`` and ``jetvla build`` as a user types them."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from jetvla.calibration.episodes import write_episode
from jetvla.calibration.episodes.hdf5 import Hdf5Episode
from jetvla.engines.sources import Declared, random_policy
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.keys import create_key_pair, load_trusted
from jetvla.services.commands import build, train


def call(module: object, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    module.configure(parser)  # type: ignore[attr-defined]  # every command module has it
    return int(module.run(parser.parse_args([str(a) for a in arguments])))  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    folder, rng = tmp_path / "episodes", np.random.default_rng(0)
    folder.mkdir()
    for number in range(2):
        images = rng.integers(0, 256, (4, 40, 40, 3), np.uint8)
        write_episode(folder / f"{number}.hdf5", images, "pick up the cup", rng.normal(size=(4, 7)).astype(np.float32))
    return folder


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    path = tmp_path / "train.yaml"
    policy = random_policy("tiny", Declared()).settings.model_dump(mode="json")
    policy["model"]["language"]["vocab_size"] = 0
    path.write_text(yaml.safe_dump({"policy": policy, "training": {"batch_size": 2, "held_out": 0.5}}))
    return path


def test_from_episodes_to_a_signed_bundle(
    episodes: Path, training_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert call(train, episodes, "-o", run, "--config", training_file, "--epochs", 2, "--threads", 1) == 0
    assert "held-out loss" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="add --resume"):
        call(train, episodes, "-o", run, "--config", training_file, "--epochs", 2)
    assert call(train, episodes, "-o", run, "--config", training_file, "--epochs", 2, "--resume") == 0

    with pytest.raises(ConfigError, match="none is neither"):
        call(build, tmp_path / "none", "-o", tmp_path / "unsigned", "--episodes", episodes)
    assert f"sign it later: jetvla bundle sign {tmp_path}/unsigned --key FILE" in capsys.readouterr().out
    private, public = create_key_pair("me", tmp_path / "keys")
    output = tmp_path / "bundle"
    options = ("-o", output, "--episodes", episodes, "--key", private, "--version", 5, "--tolerance", "1e-9")
    assert call(build, run, *options) == 0
    said = capsys.readouterr().out
    assert "parity with PyTorch" in said
    assert "unsigned" not in said
    assert "step.int8-fp32: NOT written" in said
    assert "WARNING: INT8: calibrated with 1 episode, judged by 1 episode" in said
    bundle = Bundle.open(output, load_trusted(public.parent))
    assert (bundle.manifest.version, bundle.manifest.step_precisions) == (5, ("fp32",))
    with pytest.raises(ConfigError, match="already there"):
        call(build, run, *options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either a CHECKPOINT or --random-init"),
        (("checkpoint", "--random-init", "tiny"), "either a CHECKPOINT or --random-init"),
        (("nowhere",), "nowhere is neither a checkpoint folder nor a .pt file"),
        (("--random-init", "tiny", "--precision", "fp16"), "choose --target jetson or both"),
    ],
)
def test_mistakes_are_told_at_once(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(build, *arguments, "-o", tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_real_checkpoint_needs_episodes(tmp_path: Path) -> None:
    from jetvla.engines.checkpoint import save_checkpoint

    save_checkpoint(random_policy("tiny", Declared()), tmp_path / "checkpoint")
    with pytest.raises(ConfigError, match="--episodes is missing"):
        call(build, tmp_path / "checkpoint", "-o", tmp_path / "bundle")


def test_training_with_names_in_another_order_than_recorded(
    episodes: Path, training_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hdf5Episode, "action_names", ("y", "x", "z", "roll", "pitch", "yaw", "gripper"))
    with pytest.raises(ConfigError, match=r"train.yaml:\d+: policy.action.dimensions.0 is 'x', but number 0 .* is 'y'"):
        call(train, episodes, "-o", tmp_path / "run", "--config", training_file)


def test_a_name_that_the_recordings_do_not_have_is_said_once(
    episodes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Hdf5Episode, "action_names", ("X", "y", "z", "roll", "pitch", "yaw", "gripper"))
    action = tmp_path / "action.yaml"
    spec = random_policy("tiny", Declared()).settings.action.model_dump(mode="json")
    action.write_text(yaml.safe_dump(spec))
    options = ("--random-init", "tiny", "--action-spec", action, "--precision", "fp32")
    assert call(build, *options, "--episodes", episodes, "-o", tmp_path / "bundle") == 0
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "WARNING" in line and "names" in line]
    assert said.endswith("0 is 'x', recorded as 'X'")
