"""A policy as PyTorch computes it: the truth that every exported graph is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetvla.engines.families.family import PolicyFamily
from jetvla.engines.families.settings import ActionNormalization, PolicySettings
from jetvla.engines.text import TextEncoder


@dataclass(frozen=True)
class Policy:
    """A network with everything that is needed to run it.

    Attributes:
        family: what kind it is.
        settings: its ``config.yaml``.
        network: weights; see :meth:`PolicyFamily.network`.
        actions: how to un-normalise its output.
        text: its tokenizer.
    """

    family: PolicyFamily
    settings: PolicySettings
    network: nn.Module
    actions: ActionNormalization
    text: TextEncoder

    def act(self, image: NDArray[np.uint8], instruction: str) -> NDArray[np.float32]:
        """Actions float32 [horizon, D] in physical units for one resized image uint8 [H, W, 3]."""
        ids, mask = self.encode([instruction])
        self.network.eval()
        with torch.no_grad():
            normalised = self.network(torch.from_numpy(image[None]), ids, mask)[0].numpy()
        mean, std = np.array(self.actions.mean, np.float32), np.array(self.actions.std, np.float32)
        physical: NDArray[np.float32] = (normalised * std + mean).astype(np.float32)
        return physical

    def encode(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and attention mask, int64 [N, L]."""
        ids, mask = self.text.encode(instructions, self.settings.text.max_tokens)
        return torch.from_numpy(ids), torch.from_numpy(mask)
