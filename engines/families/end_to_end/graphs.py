"""The two exported graphs. Together they compute exactly what the network computes at batch 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jetvla.engines.families.end_to_end.fusion import CourseFusion, FusionLayer, token_bias
from jetvla.engines.families.end_to_end.network import EndToEndVLA
from jetvla.engines.families.settings import ActionNormalization


def _rows(layer: FusionLayer, start: int, stop: int) -> nn.Linear:
    """Thirds ``start`` to ``stop`` of a layer's packed projection (query, key, value) as a linear layer."""
    attention = layer.self_attn
    width = attention.in_proj_weight.shape[1]
    part = slice(start * width, stop * width)
    linear = nn.Linear(width, (stop - start) * width)
    linear.weight = nn.Parameter(attention.in_proj_weight.detach()[part].clone())
    linear.bias = nn.Parameter(attention.in_proj_bias.detach()[part].clone())
    return linear


class SplitLayer(nn.Module):
    """A fusion layer that asks from some rows only, and takes some keys and values ready-made."""

    def __init__(self, layer: FusionLayer) -> None:
        super().__init__()
        self.layer = layer
        self.query = _rows(layer, 0, 1)
        self.key_value = _rows(layer, 1, 3)

    def forward(self, asking: Tensor, seen: Tensor, more: tuple[Tensor, Tensor] | None, bias: Tensor) -> Tensor:
        """Rows ``asking`` [1, Q, C] after the layer; ``more`` are keys and values beyond those of ``seen``."""
        key, value = self.key_value(seen).chunk(2, dim=-1)
        if more is not None:
            key, value = torch.cat([key, more[0]], dim=1), torch.cat([value, more[1]], dim=1)
        attended = self.layer.self_attn.attend(self.query(asking), key, value, bias)
        return self.layer.finish(asking, attended)


class PrunedFusion(nn.Module):
    """Corrected fusion at batch 1: the first layer's text keys and values are given, and of the last layer only
    token 0 is computed, since the head reads nothing else."""

    def __init__(self, layers: list[FusionLayer]) -> None:
        super().__init__()
        self.first = SplitLayer(layers[0])
        self.middle = nn.ModuleList(layers[1:-1])
        self.last = SplitLayer(layers[-1]) if len(layers) > 1 else None

    def forward(self, vision: Tensor, features: Tensor, mask: Tensor, key: Tensor, value: Tensor) -> Tensor:
        bias = token_bias(vision, mask)
        if self.last is None:
            only: Tensor = self.first(vision[:, :1], vision, (key, value), bias)
            return only[:, 0]
        x = self.first(torch.cat([vision, features], dim=1), vision, (key, value), bias)
        for layer in self.middle:
            x = layer(x, bias)
        fused: Tensor = self.last(x[:, :1], x, None, bias)
        return fused[:, 0]


class LonelyLayer(nn.Module):
    """A fusion layer for one token that attends to itself alone: the softmax of one score is 1."""

    def __init__(self, layer: FusionLayer) -> None:
        super().__init__()
        self.layer = layer
        self.value = _rows(layer, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer.finish(x, self.layer.self_attn.out_proj(self.value(x)))


class LonelyFusion(nn.Module):
    """The course's fusion at batch 1: token 0 attends to itself alone, so that its output is its own value."""

    def __init__(self, layers: list[FusionLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LonelyLayer(layer) for layer in layers)

    def forward(self, vision: Tensor, features: Tensor, mask: Tensor, key: Tensor, value: Tensor) -> Tensor:
        x = vision[:, 0]
        for layer in self.layers:
            x = layer(x)
        return x


class LanguageGraph(nn.Module):
    """Everything that depends on the instruction alone."""

    def __init__(self, network: EndToEndVLA, embeds: bool) -> None:
        super().__init__()
        self.encoder, self.projection = network.language_encoder, network.language_projection
        first = network.fusion.each()[0]
        self.key, self.value = _rows(first, 1, 2), _rows(first, 2, 3)
        self.words = "inputs_embeds" if embeds else "input_ids"

    def forward(self, words: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Ids [1, L] or embeddings [1, L, E], and mask [1, L], to features, mask, first keys and values."""
        encoded = self.encoder(**{self.words: words}, attention_mask=attention_mask)
        features = self.projection(encoded.last_hidden_state)
        return features, attention_mask.to(features.dtype), self.key(features), self.value(features)


class StepGraph(nn.Module):
    """Everything that depends on the image."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: EndToEndVLA, actions: ActionNormalization) -> None:
        super().__init__()
        self.network = network
        pruned = LonelyFusion if isinstance(network.fusion, CourseFusion) else PrunedFusion
        self.fusion = pruned(network.fusion.each())
        self.register_buffer("mean", torch.tensor(actions.mean))
        self.register_buffer("std", torch.tensor(actions.std))

    def forward(self, image: Tensor, features: Tensor, mask: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Image uint8 [1, H, W, 3] and the language outputs to actions [1, horizon, D] in physical units."""
        token = self.fusion(self.network.see(image), features, mask, key, value)
        return self.network.decide(token) * self.std + self.mean
