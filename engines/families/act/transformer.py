"""The transformer of ACT, which is DETR's (Carion et al. 2020): positions are added to queries and keys in every
layer, and never to values. Parameter names are those of ``torch.nn.MultiheadAttention`` and LeRobot."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetvla.engines.families.act.settings import Activation, ActSizes


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Mixed values [B, Q, C] of queries [B, Q, C], already divided by the square root of a head's width, and keys and
    values [B, S, C]."""
    q, k, v = (x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2) for x in (query, key, value))
    scores = torch.matmul(q, k.transpose(-1, -2))
    return torch.matmul(scores.softmax(dim=-1), v).transpose(1, 2).reshape(query.shape)


class Attention(nn.Module):
    """Multi-head attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    @property
    def scale(self) -> float:
        """What queries are multiplied with."""
        return 1 / math.sqrt(self.out_proj.in_features // self.heads)

    def forward(self, asking: Tensor, seen: Tensor, asking_position: Tensor, seen_position: Tensor) -> Tensor:
        """``asking`` [B, Q, C] looks at ``seen`` [B, S, C]; positions are [1, Q, C] and [1, S, C]."""
        (wq, wk, wv), (bq, bk, bv) = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query = functional.linear(asking + asking_position, wq, bq) * self.scale
        key = functional.linear(seen + seen_position, wk, bk)
        value = functional.linear(seen, wv, bv)
        merged: Tensor = self.out_proj(attend(query, key, value, self.heads))
        return merged


class _Layer(nn.Module):
    """What encoder and decoder layers have in common."""

    def __init__(self, sizes: ActSizes) -> None:
        super().__init__()
        self.pre_norm, self.activation = sizes.pre_norm, sizes.activation
        self.self_attn: nn.Module = Attention(sizes.hidden, sizes.heads)
        self.linear1 = nn.Linear(sizes.hidden, sizes.feed_forward)
        self.linear2 = nn.Linear(sizes.feed_forward, sizes.hidden)
        self.norm1, self.norm2 = nn.LayerNorm(sizes.hidden), nn.LayerNorm(sizes.hidden)

    def before(self, norm: nn.Module, x: Tensor) -> Tensor:
        """What a sub-layer reads of ``x``."""
        return cast(Tensor, norm(x)) if self.pre_norm else x

    def after(self, norm: nn.Module, x: Tensor) -> Tensor:
        """What a sub-layer leaves of the sum ``x``."""
        return x if self.pre_norm else cast(Tensor, norm(x))

    def fed(self, norm: nn.Module, x: Tensor) -> Tensor:
        """``x`` after the feed-forward sub-layer."""
        hidden = _activated(self.linear1(self.before(norm, x)), self.activation)
        return self.after(norm, x + self.linear2(hidden))


def _activated(x: Tensor, activation: Activation) -> Tensor:
    return torch.relu(x) if activation == "relu" else functional.gelu(x)


class EncoderLayer(_Layer):
    """Self-attention and feed-forward."""

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Tokens ``x`` [B, S, C] to the same shape."""
        read = self.before(self.norm1, x)
        x = self.after(self.norm1, x + self.self_attn(read, read, position, position))
        return self.fed(self.norm2, x)


class DecoderLayer(_Layer):
    """Self-attention, attention to the encoder's tokens, and feed-forward."""

    def __init__(self, sizes: ActSizes) -> None:
        super().__init__(sizes)
        self.multihead_attn: nn.Module = Attention(sizes.hidden, sizes.heads)
        self.norm3 = nn.LayerNorm(sizes.hidden)

    def started(self, x: Tensor, position: Tensor) -> Tensor:
        """``x`` [B, H, C] after self-attention."""
        read = self.before(self.norm1, x)
        return self.after(self.norm1, x + self.self_attn(read, read, position, position))

    def finished(self, x: Tensor, memory: Tensor, position: Tensor, memory_position: Tensor) -> Tensor:
        """What :meth:`started` gave, after attention to the encoder's tokens [B, S, C] and feed-forward."""
        read = self.before(self.norm2, x)
        x = self.after(self.norm2, x + self.multihead_attn(read, memory, position, memory_position))
        return self.fed(self.norm3, x)

    def forward(self, x: Tensor, memory: Tensor, position: Tensor, memory_position: Tensor) -> Tensor:
        """Queries ``x`` [B, H, C] and the encoder's tokens [B, S, C] to the shape of ``x``."""
        return self.finished(self.started(x, position), memory, position, memory_position)


class Encoder(nn.Module):
    """Layers, and a final norm if the layers do not end in one."""

    def __init__(self, sizes: ActSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(sizes) for _ in range(sizes.encoder_layers))
        self.norm = nn.LayerNorm(sizes.hidden) if sizes.pre_norm else nn.Identity()

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, position)
        return cast(Tensor, self.norm(x))


class Decoder(nn.Module):
    """Layers and a final norm, beginning with zeros."""

    def __init__(self, sizes: ActSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(sizes) for _ in range(sizes.decoder_layers))
        self.norm = nn.LayerNorm(sizes.hidden)

    def forward(self, memory: Tensor, position: Tensor, memory_position: Tensor) -> Tensor:
        """The encoder's tokens [B, S, C] to one row per action, [B, H, C]; ``position`` is [1, H, C]."""
        x = torch.zeros_like(position).expand(memory.shape[0], -1, -1)
        for layer in self.layers:
            x = layer(x, memory, position, memory_position)
        return cast(Tensor, self.norm(x))
