"""Outlier channels, as real transformers have and random weights lack, without changing what is computed.

A few channels of every LayerNorm come out many times larger than the rest, and the weights that read them are as many
times smaller (Dettmers et al. 2022, "LLM.int8()"; for ViTs: Xiao et al. 2022). Used to measure quantization.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.graph import tensor_types
from jetvla.engines.smooth import find_foldable, fold

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

CHANNELS, FACTOR = 6, 64.0


def inject_into_graph(model: ModelProto, channels: int = CHANNELS, factor: float = FACTOR, seed: int = 0) -> ModelProto:
    """A copy of ``model`` in which ``channels`` channels of every foldable LayerNormalization are ``factor`` times as
    large. A power of two changes no bit of the result."""
    rng, types = np.random.default_rng(seed), tensor_types(model)
    widths = {one.output: types[one.output][1][-1] for one in find_foldable(model)}
    return fold(model, {name: np.reciprocal(_gains(rng, width, channels, factor)) for name, width in widths.items()})


def inject_into_state(
    state: Mapping[str, Tensor],
    readers: Mapping[str, Sequence[str]],
    channels: int = CHANNELS,
    factor: float = FACTOR,
    seed: int = 0,
) -> dict[str, Tensor]:
    """A copy of a state dict in which LayerNorms have outlier channels.

    Args:
        state: of the network.
        readers: by prefix of a LayerNorm, the prefixes of all Linear layers that read it, such as
            :func:`vit_readers` finds.
        channels, factor, seed: see :func:`inject_into_graph`.
    """
    import torch

    rng, changed = np.random.default_rng(seed), dict(state)
    for norm, linears in readers.items():
        gains = torch.from_numpy(_gains(rng, len(state[f"{norm}.weight"]), channels, factor))
        for part in ("weight", "bias"):
            changed[f"{norm}.{part}"] = state[f"{norm}.{part}"] * gains
        for linear in linears:
            changed[f"{linear}.weight"] = state[f"{linear}.weight"] / gains
    return changed


def vit_readers(state: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """The ``readers`` of a Hugging Face ViT (transformers 5) inside ``state``; empty if there is none."""
    found: dict[str, list[str]] = {}
    for name in state:
        if match := re.fullmatch(r"(.*layers\.\d+)\.layernorm_before\.weight", name):
            layer = match[1]
            found[f"{layer}.layernorm_before"] = [f"{layer}.attention.{part}_proj" for part in "qkv"]
            found[f"{layer}.layernorm_after"] = [f"{layer}.mlp.fc1"]
    return found


def _gains(rng: np.random.Generator, width: int, channels: int, factor: float) -> NDArray[np.float32]:
    gains = np.ones(width, np.float32)
    gains[rng.choice(width, min(channels, width), replace=False)] = factor
    return gains
