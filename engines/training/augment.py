"""Changes to samples that leave the recorded action right.

The course also crops, rotates and mirrors the image alone, and adds noise to the action; each of these
teaches a wrong answer. Here a mirror image mirrors the action and the words too.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from jetvla.engines.training.settings import AugmentSettings
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import ConfigError

_MIRRORED = {"left": "right", "right": "left"}
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
# ITU-R BT.601.
_LUMA = (0.299, 0.587, 0.114)


def mirrored(text: str) -> str:
    """``text`` with the words left and right swapped."""
    return _SIDE.sub(lambda match: _like(match.group(), _MIRRORED[match.group().lower()]), text)


def _like(model: str, word: str) -> str:
    return word.capitalize() if model[0].isupper() else word


def paraphrased(text: str, phrases: dict[str, tuple[str, ...]]) -> list[str]:
    """``text`` and every variant in which one phrase is replaced."""
    found = [(old, new) for old, options in phrases.items() if old in text for new in options]
    return [text, *(text.replace(old, new) for old, new in found)]


def mirror_signs(spec: ActionSpec, dimensions: tuple[str, ...]) -> Tensor:
    """-1 for every dimension that mirroring negates, else 1; float32 [D]. ConfigError for an unknown name."""
    unknown = sorted(set(dimensions) - set(spec.names))
    if unknown:
        raise ConfigError(f"augment.flip.dimensions: no action called {', '.join(unknown)}")
    return torch.tensor([-1.0 if name in dimensions else 1.0 for name in spec.names])


def jitter(images: Tensor, settings: AugmentSettings, generator: torch.Generator) -> Tensor:
    """Float images [B, H, W, 3] of 0-255 with brightness, contrast and saturation changed, per sample."""

    def factor(amount: float) -> Tensor:
        return 1 + amount * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)

    images = images * factor(settings.brightness)
    luma = (images * torch.tensor(_LUMA)).sum(dim=-1, keepdim=True)
    # One linear map per sample: x -> grey + saturation * (x - grey), then the same about the mean for contrast.
    contrast, saturation = factor(settings.contrast), factor(settings.saturation)
    middle = luma.mean(dim=(1, 2), keepdim=True)
    images = images * (contrast * saturation) + luma * (contrast * (1 - saturation)) + middle * (1 - contrast)
    return images.clamp_(0, 255)
