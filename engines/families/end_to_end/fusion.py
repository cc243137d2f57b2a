"""The fusion transformer. Parameter names are those of ``torch.nn.TransformerEncoder``."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jetvla.engines.families.end_to_end.settings import FusionSettings
from jetvla.engines.families.family import MASKED


class TextContext(NamedTuple):
    """An instruction as the fusion sees it.

    Attributes:
        features: float32 [B, L, C].
        mask: float32 [B, L]; 1 is a token, 0 is padding.
    """

    features: Tensor
    mask: Tensor


def token_bias(vision: Tensor, mask: Tensor) -> Tensor:
    """What to add to attention scores: float32 [B, 1, 1, Sv + L], 0 for a token and MASKED for padding."""
    seen = torch.zeros(mask.shape[0], vision.shape[1], dtype=mask.dtype, device=mask.device)
    return torch.cat([seen, (1.0 - mask) * MASKED], dim=1)[:, None, None, :]


class SelfAttention(nn.Module):
    """``torch.nn.MultiheadAttention``'s parameters with its projections and its core callable apart."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each shaped as ``x`` [B, S, C]."""
        query, key, value = functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """Output [B, Q, C] for queries [B, Q, C], keys and values [B, S, C]."""
        q, k, v = self._split(query), self._split(key), self._split(value)
        scores = torch.matmul(q, k.transpose(-1, -2)) * (1 / math.sqrt(q.shape[-1]))
        if bias is not None:
            scores = scores + bias
        mixed = torch.matmul(self.dropout(scores.softmax(dim=-1)), v)
        merged: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(query.shape))
        return merged

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


class FusionLayer(nn.Module):
    """One post-norm layer, as ``nn.TransformerEncoderLayer(norm_first=False, activation="relu")``."""

    def __init__(self, width: int, sizes: FusionSettings) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, sizes.heads, sizes.dropout)
        self.linear1 = nn.Linear(width, sizes.feed_forward)
        self.activation = nn.ReLU()
        self.linear2 = nn.Linear(sizes.feed_forward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """``x`` [B, S, C] to the same shape."""
        return self.finish(x, self.self_attn.attend(*self.self_attn.project(x), bias))

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """What follows attention: residuals, norms and feed-forward, row by row."""
        x = self.norm1(x + self.dropout(attended))
        fed: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        normed: Tensor = self.norm2(x + self.dropout(fed))
        return normed


class Fusion(nn.Module):
    """Layers over vision tokens followed by text tokens; the result is token 0."""

    def __init__(self, width: int, sizes: FusionSettings) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(width, sizes) for _ in range(sizes.layers))

    def each(self) -> list[FusionLayer]:
        """The layers, first to last."""
        return [cast(FusionLayer, layer) for layer in self.layers]

    def forward(self, vision: Tensor, text: TextContext) -> Tensor:
        """Vision [B, Sv, C] and text to token 0, [B, C]."""
        x = torch.cat([vision, text.features], dim=1)
        bias = token_bias(vision, text.mask)
        *others, last = self.each()
        for layer in others:
            x = layer(x, bias)
        # Nothing reads the last layer's other rows.
        query, key, value = last.self_attn.project(x)
        return last.finish(x[:, :1], last.self_attn.attend(query[:, :1], key, value, bias))[:, 0]


class CourseFusion(Fusion):
    """What ``nn.TransformerEncoder`` without ``batch_first`` does to [B, S, C]: the batch is taken for the sequence.

    Every token attends to the tokens at its own position in the other samples; at batch 1 only to itself, so
    that the instruction has no influence. Kept for weights that were trained so.
    """

    def forward(self, vision: Tensor, text: TextContext) -> Tensor:
        # Token 0 only ever meets the other samples' token 0.
        x = vision[:, :1].transpose(0, 1)
        for layer in self.layers:
            x = layer(x, None)
        return x[0]
