"""The exported graph: the network with everything that no input changes computed beforehand.

A position is added to what a projection reads, so that its share of the result is a constant to add afterwards; the
decoder begins with zeros, so that its first self-attention and the queries after it are constants.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from jetvla.engines.families.act.backbone import fold_batch_norms
from jetvla.engines.families.act.network import ActModel, ActNetwork
from jetvla.engines.families.act.transformer import Attention, DecoderLayer, EncoderLayer, attend
from jetvla.engines.families.settings import ActionNormalization


class Projection(nn.Module):
    """Thirds ``start`` to ``stop`` of an attention's packed projection (query, key, value) of tokens at fixed
    positions [1, S, C]. Queries come out scaled."""

    def __init__(self, attention: Attention, start: int, stop: int, position: Tensor) -> None:
        super().__init__()
        width = position.shape[-1]
        weights, biases = attention.in_proj_weight.detach().chunk(3), attention.in_proj_bias.detach().chunk(3)
        scales = (attention.scale, 1.0, 1.0)
        places = (position, position, torch.zeros_like(position))
        thirds = range(start, stop)
        self.linear = nn.Linear(width, (stop - start) * width, bias=False)
        self.linear.weight = nn.Parameter(torch.cat([weights[i] * scales[i] for i in thirds]))
        self.offsets = [f"offset{i}" for i in thirds]
        for i, name in zip(thirds, self.offsets, strict=True):
            self.register_buffer(name, (places[i] @ weights[i].T + biases[i]) * scales[i])

    def thirds(self, x: Tensor) -> list[Tensor]:
        """Each of the thirds."""
        # Offsets are added after the cut: before it TensorRT for RTX 1.7 takes them for a bias of all tokens, of one
        # row, and then fails to build.
        parts = self.linear(x).chunk(len(self.offsets), dim=-1)
        return [part + self.get_buffer(name) for part, name in zip(parts, self.offsets, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """The one third there is."""
        (third,) = self.thirds(x)
        return third


class FixedSelfAttention(nn.Module):
    """An :class:`Attention` of tokens at fixed positions to each other; called as one."""

    def __init__(self, attention: Attention, position: Tensor) -> None:
        super().__init__()
        self.heads, self.out_proj = attention.heads, attention.out_proj
        self.projection = Projection(attention, 0, 3, position)

    def forward(self, asking: Tensor, seen: Tensor, asking_position: Tensor, seen_position: Tensor) -> Tensor:
        """The positions are known already; ``seen`` is ``asking``."""
        query, key, value = self.projection.thirds(asking)
        return cast(Tensor, self.out_proj(attend(query, key, value, self.heads)))


class FixedCrossAttention(nn.Module):
    """An :class:`Attention` of tokens at fixed positions to others; called as one."""

    def __init__(self, attention: Attention, position: Tensor, memory_position: Tensor) -> None:
        super().__init__()
        self.heads, self.out_proj = attention.heads, attention.out_proj
        self.query: nn.Module = Projection(attention, 0, 1, position)
        self.key_value = Projection(attention, 1, 3, memory_position)

    def forward(self, asking: Tensor, seen: Tensor, asking_position: Tensor, seen_position: Tensor) -> Tensor:
        """The positions are known already."""
        key, value = self.key_value.thirds(seen)
        return cast(Tensor, self.out_proj(attend(self.query(asking), key, value, self.heads)))


class Constant(nn.Module):
    """What a module that is always given the same gives."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, _: Tensor) -> Tensor:
        return self.value


class FirstDecoderLayer(nn.Module):
    """A decoder layer that is always given zeros; called as one."""

    def __init__(self, layer: DecoderLayer, position: Tensor, memory_position: Tensor) -> None:
        super().__init__()
        self.start = Constant(layer.started(torch.zeros_like(position), position))
        attention = FixedCrossAttention(cast(Attention, layer.multihead_attn), position, memory_position)
        attention.query = Constant(attention.query(layer.before(layer.norm2, self.start.value)))
        self.layer = layer
        layer.self_attn, layer.multihead_attn = nn.Identity(), attention

    def forward(self, x: Tensor, memory: Tensor, position: Tensor, memory_position: Tensor) -> Tensor:
        """Only ``memory`` [1, S, C] matters."""
        return self.layer.finished(self.start(x), memory, position, memory_position)


def _fold(model: ActModel) -> None:
    position, memory_position = model.action_positions(), model.token_positions()
    fold_batch_norms(model.backbone)
    for layer in model.encoder.layers:
        assert isinstance(layer, EncoderLayer)
        layer.self_attn = FixedSelfAttention(cast(Attention, layer.self_attn), memory_position)
    first, *others = cast(list[DecoderLayer], list(model.decoder.layers))
    for layer in others:
        layer.self_attn = FixedSelfAttention(cast(Attention, layer.self_attn), position)
        layer.multihead_attn = FixedCrossAttention(cast(Attention, layer.multihead_attn), position, memory_position)
    model.decoder.layers = nn.ModuleList([FirstDecoderLayer(first, position, memory_position), *others])


class StepGraph(nn.Module):
    """The whole policy at batch 1. It has its own copy of the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: ActNetwork, actions: ActionNormalization) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        with torch.no_grad():
            _fold(self.network.model)
        self.register_buffer("mean", torch.tensor(actions.mean))
        self.register_buffer("std", torch.tensor(actions.std))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Images uint8 [1, H, W, 3] in the order of the cameras, then the state [1, S] if the policy has one, to
        actions [1, horizon, D] in physical units."""
        images = dict(zip(self.network.cameras, inputs, strict=False))
        state = inputs[-1] if len(inputs) > len(images) else None
        return cast(Tensor, self.network(images, state)) * self.std + self.mean
