"""A tiny policy, recorded episodes and exported graphs, shared by the tests of the builder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto

from jetvla.calibration.episodes import open_episodes, write_episode
from jetvla.engines.build import BuildOptions, build
from jetvla.engines.observations import recorded_observations
from jetvla.engines.policy import Policy
from jetvla.engines.sources import Declared, random_policy
from jetvla.engines.variants import Wish
from jetvla.runtime.keys import create_key_pair

INSTRUCTIONS = ("pick up the red block", "move to the green block")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads that wait for each other on busy cores make these small networks slower, up to tenfold."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def policy() -> Policy:
    """Tiny, random, corrected attention, and actions that need un-normalising."""
    made = random_policy("tiny", Declared())
    numbers = np.arange(1, len(made.settings.action) + 1)
    actions = made.actions.model_copy(
        update={"mean": tuple((0.1 * numbers).tolist()), "std": tuple((0.5 * numbers).tolist())}
    )
    return Policy(made.family, made.settings, made.network, actions, made.text)


@pytest.fixture(scope="session")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes of six steps, images larger than the policy's; the instruction decides the 7 actions' sign."""
    folder, rng = tmp_path_factory.mktemp("episodes"), np.random.default_rng(0)
    for number in range(4):
        images = rng.integers(0, 256, (6, 48, 64, 3), np.uint8)
        side = 1 if number % 2 else -1
        actions = (side + 0.2 * rng.normal(size=(6, 7))).astype(np.float32)
        write_episode(folder / f"episode{number}.hdf5", images, INSTRUCTIONS[number % 2], actions)
    return folder


@pytest.fixture(scope="session")
def built_folder(policy: Policy, episodes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bundle``: every precision, signed; ``keys``: the key pair; ``said.txt``: what the build said."""
    folder = tmp_path_factory.mktemp("built")
    private, _ = create_key_pair("tester", folder / "keys")
    said: list[str] = []
    observations = recorded_observations(open_episodes(episodes), policy.settings)
    wish = Wish("int8", "both", 0.5 * observations.scale)
    options = BuildOptions(wish, version=3, key=private)
    build(policy, observations, options, folder / "bundle", said.append)
    (folder / "said.txt").write_text("\n".join(said))
    return folder


@pytest.fixture(scope="session")
def exported(built_folder: Path) -> dict[str, ModelProto]:
    """The two FP32 graphs of ``policy``, ``language`` and ``step``."""
    return {name: onnx.load(built_folder / "bundle" / f"{name}.fp32.onnx") for name in ("language", "step")}
