"""ACT's blocks in ONNX Runtime's kernels: convolutions move to channels in blocks, and take in sums and activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from jetvla.engines.blocks import find_blocks, multiplications
from jetvla.engines.build import BuildOptions, build
from jetvla.engines.families.act.family import FAMILY
from jetvla.engines.families.act.network import ActNetwork
from jetvla.engines.families.act.settings import ActSettings
from jetvla.engines.families.settings import ActionNormalization
from jetvla.engines.layers.profile import PolicyProfile, profile_layers
from jetvla.engines.observations import random_observations
from jetvla.engines.policy import Policy
from jetvla.engines.variants import Wish
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import PolicyConfig


@pytest.fixture
def bundle(
    act_settings: Callable[..., ActSettings], random_act: Callable[[ActSettings], ActNetwork], tmp_path: Path
) -> Bundle:
    settings = act_settings()
    policy = Policy(FAMILY, settings, random_act(settings), ActionNormalization(mean=(1.0, -2.0), std=(0.5, 3.0)), None)
    observations = random_observations(settings)
    wish = Wish("int8", "cpu", observations.scale, force=True)
    build(policy, observations, BuildOptions(wish), tmp_path / "bundle", lambda line: None)
    return Bundle.open(tmp_path / "bundle", None)


def profile(bundle: Bundle, precision: str, folder: Path) -> PolicyProfile:
    config = PolicyConfig.model_validate({"precision": precision, "threads": 1, "engines": folder / "none"})
    return profile_layers(bundle, config, lambda line: None)


def graph(bundle: Bundle, precision: str) -> ModelProto:
    return onnx.load(bundle.file(f"step.{precision}.onnx"))


def test_every_block_has_its_row_and_its_work(bundle: Bundle, tmp_path: Path) -> None:
    result = profile(bundle, "fp32", tmp_path)
    names = [row.name for row in result.step.rows]
    assert [name for name in names if name in {block.name for block in find_blocks(graph(bundle, "fp32"))}] == [
        block.name for block in find_blocks(graph(bundle, "fp32"))
    ]
    assert {row.tower for row in result.step.rows} == {"vision", "fusion", "head"}
    assert result.language is None
    # Nothing serves several blocks of this graph.
    assert result.step.other_ms == 0
    counted = sum(multiplications(graph(bundle, "fp32")).values())
    assert result.step.all_blocks().gop == pytest.approx(2e-9 * counted)
    for row in result.step.rows:
        assert row.ms > 0
        assert row.integer_gop == 0


def test_convolutions_of_an_int8_graph_run_in_float(bundle: Bundle, tmp_path: Path) -> None:
    """ONNX Runtime has no convolution of integers with a float result."""
    rows = {row.name: row for row in profile(bundle, "int8-fp32", tmp_path).step.rows}
    assert rows["ResNet layer 1 block 0"].integer_gop == 0
    assert rows["ResNet layer 1 block 0"].float_gop > 0
    assert rows["encoder layer 0 feed-forward"].float_gop == 0
    np.testing.assert_allclose(
        sum(row.gop for row in rows.values()), 2e-9 * sum(multiplications(graph(bundle, "fp32")).values())
    )
