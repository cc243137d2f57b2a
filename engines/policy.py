"""A policy as PyTorch computes it: the truth that every exported graph is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jetvla.engines.families.family import Batch, PolicyFamily
from jetvla.engines.families.settings import ActionNormalization, PolicySettings
from jetvla.engines.text import TextEncoder
from jetvla.runtime.errors import ConfigError


@dataclass(frozen=True)
class Policy:
    """A network with everything that is needed to run it.

    Attributes:
        family: what kind it is.
        settings: its ``config.yaml``.
        network: weights; see :meth:`PolicyFamily.network`.
        actions: how to un-normalise its output.
        text: its tokenizer; None for a family without language.
    """

    family: PolicyFamily
    settings: PolicySettings
    network: nn.Module
    actions: ActionNormalization
    text: TextEncoder | None

    def act(
        self, images: Mapping[str, NDArray[np.uint8]], state: NDArray[np.float32] | None, instruction: str
    ) -> NDArray[np.float32]:
        """Actions float32 [horizon, D] in physical units.

        Args:
            images: resized, uint8 [H, W, 3] by camera.
            state: float32 [S] in the policy's order, or None if it takes none.
            instruction: a sentence; a family without language ignores it.
        """
        ids, mask = (None, None) if self.text is None else self.encode([instruction])
        batch = Batch(
            {camera: torch.from_numpy(image[None]) for camera, image in images.items()},
            None if state is None else torch.from_numpy(state[None]),
            ids,
            mask,
        )
        self.network.eval()
        with torch.no_grad():
            normalised = self.family.act(self.network, self.settings, batch)[0].numpy()
        mean, std = np.array(self.actions.mean, np.float32), np.array(self.actions.std, np.float32)
        physical: NDArray[np.float32] = (normalised * std + mean).astype(np.float32)
        return physical

    def check_instructions(self, instructions: Sequence[str]) -> None:
        """ConfigError if one of ``instructions`` is longer than the policy reads: a sentence that is cut is another
        sentence. A family without language takes any."""
        if self.text is None or self.settings.text is None:
            return
        length = self.settings.text.max_tokens
        cut = [(self.text.cut(sentence, length), sentence) for sentence in instructions]
        lost, sentence = max(cut, default=(0, ""))
        if lost:
            raise ConfigError(
                f"the instruction {sentence!r} has {length + lost} tokens and the policy reads {length}: {lost} would "
                f"be cut ({sum(count > 0 for count, _ in cut)} of the recordings' instructions are too long); shorten "
                "them in the recordings, or raise text.max_tokens in config.yaml if the policy was trained with more"
            )

    def encode(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and attention mask, int64 [N, L]; only for a family with language."""
        assert self.text is not None
        assert self.settings.text is not None
        ids, mask = self.text.encode(instructions, self.settings.text.max_tokens)
        return torch.from_numpy(ids), torch.from_numpy(mask)
