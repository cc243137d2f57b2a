from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from jetvla.engines.export import export_graph
from jetvla.engines.outliers import inject_into_graph, inject_into_state, vit_readers
from jetvla.engines.policy import Policy
from jetvla.engines.quantize import collect_ranges, find_sites, quantize
from jetvla.engines.runner import GraphRunner
from jetvla.engines.smooth import collect_maxima, smooth

Feed = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def feeds(exported: dict[str, ModelProto]) -> list[Feed]:
    rng, language = np.random.default_rng(0), GraphRunner.of_model(exported["language"])
    text = language.run({"input_ids": rng.integers(1, 12, (1, 12)), "attention_mask": np.ones((1, 12), np.int64)})
    return [{"image_front": rng.integers(0, 256, (1, 32, 32, 3), np.uint8), **text} for _ in range(8)]


def actions(model: ModelProto, feeds: list[Feed]) -> NDArray[np.float32]:
    runner = GraphRunner.of_model(model)
    return np.concatenate([runner.run(feed)["actions"] for feed in feeds])


def sqnr(model: ModelProto, feeds: list[Feed]) -> float:
    """Of the INT8 graph's action against the float one's, dB."""
    limits = {n: seen.limit("mse") for n, seen in collect_ranges(model, find_sites(model), feeds).items()}
    truth = actions(model, feeds)
    noise = actions(quantize(model, limits).model, feeds) - truth
    return float(10 * np.log10(np.square(truth).sum() / np.square(noise).sum()))


def test_the_graph_s_function_stays(exported: dict[str, ModelProto], feeds: list[Feed]) -> None:
    step = exported["step"]
    injected = inject_into_graph(step, seed=3)
    np.testing.assert_array_equal(actions(injected, feeds), actions(step, feeds))
    maxima = collect_maxima(injected, feeds)
    assert len(maxima) == 5
    for channels in maxima.values():
        # Six of sixteen channels, 64 times the size of the rest.
        assert (channels > 10 * np.median(channels)).sum() == 6


def test_smooth_quant_brings_back_what_outliers_cost(exported: dict[str, ModelProto], feeds: list[Feed]) -> None:
    step = exported["step"]
    injected = inject_into_graph(step)
    without, plain = sqnr(injected, feeds), sqnr(step, feeds)
    recovered = sqnr(smooth(injected, collect_maxima(injected, feeds)), feeds)
    assert without < plain - 10
    assert recovered > without + 10


def test_a_state_dict_s_function_stays(policy: Policy) -> None:
    state = policy.network.state_dict()
    readers = vit_readers(state)
    layers = [f"vision_encoder.layers.{n}" for n in (0, 1)]
    assert readers[f"{layers[0]}.layernorm_before"] == [f"{layers[0]}.attention.{part}_proj" for part in "qkv"]
    assert set(readers) == {f"{layer}.layernorm_{where}" for layer in layers for where in ("before", "after")}
    changed = inject_into_state(state, readers, channels=2, factor=32.0)
    for norm in readers:
        assert (changed[f"{norm}.weight"] == 32 * state[f"{norm}.weight"]).sum() == 2
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (1, 32, 32, 3), np.uint8))
    ids, mask = policy.encode(["pick up the red block"])
    with torch.no_grad():
        before = policy.network(image, ids, mask)
        policy.network.load_state_dict(changed)
        try:
            after = policy.network(image, ids, mask)
            plan = policy.family.export_plan(policy.network, policy.settings, policy.actions)
            maxima = collect_maxima(export_graph(plan.graphs[-1]), [_feed(plan.graphs[-1].inputs)])
        finally:
            policy.network.load_state_dict(state)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert sum((channels > 10 * np.median(channels)).sum() for channels in maxima.values()) == 8


def _feed(inputs: dict[str, torch.Tensor]) -> Feed:
    return {name: tensor.detach().numpy() for name, tensor in inputs.items()}


def test_other_networks_have_no_vit_readers() -> None:
    assert vit_readers({"fc.weight": torch.ones(1)}) == {}
