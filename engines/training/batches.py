"""Batches by step number, so that a resumed run sees what the uninterrupted one would have seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jetvla.engines.families.settings import ActionNormalization, PolicySettings
from jetvla.engines.text import TextEncoder
from jetvla.engines.training.augment import jitter, mirror_signs, mirrored, paraphrased
from jetvla.engines.training.samples import Samples
from jetvla.engines.training.settings import AugmentSettings


class Batch(NamedTuple):
    """``images`` 0-255 [B, H, W, 3]; ``ids`` and ``mask`` [B, L]; ``actions`` [B, horizon, D] normalised; ``real``
    [B, horizon, 1], 1 where an action was recorded."""

    images: Tensor
    ids: Tensor
    mask: Tensor
    actions: Tensor
    real: Tensor


def all_wordings(sentences: list[str], augment: AugmentSettings) -> list[str]:
    """Everything that training can say, for making a tokenizer."""
    wordings = [w for text in sentences for w in paraphrased(text, augment.paraphrases)]
    return wordings if augment.flip is None else wordings + [mirrored(w) for w in wordings]


class Batches:
    """Makes batch number n of a run; a pure function of n, the samples and the seed."""

    def __init__(
        self,
        samples: Samples,
        policy: PolicySettings,
        text: TextEncoder,
        actions: ActionNormalization,
        size: int,
        seed: int,
        augment: AugmentSettings | None,
    ) -> None:
        self._samples, self._size, self._seed, self._augment = samples, min(size, len(samples)), seed, augment
        self._mean, self._std = torch.tensor(actions.mean), torch.tensor(actions.std)
        variants = augment or AugmentSettings()
        self._wordings = [paraphrased(s, variants.paraphrases if augment else {}) for s in samples.sentences]
        flat = [w for options in self._wordings for w in options]
        self._first = np.cumsum([0, *(len(options) for options in self._wordings)])
        both = flat + [mirrored(w) for w in flat]
        assert policy.text is not None, "TrainingSettings.policy_settings refuses policies without language"
        ids, mask = text.encode(both, policy.text.max_tokens)
        self._ids, self._mask = torch.from_numpy(ids), torch.from_numpy(mask)
        self._mirror_at = len(flat)
        flip = variants.flip
        self._signs = None if flip is None else mirror_signs(policy.action, flip.dimensions)

    @property
    def per_epoch(self) -> int:
        """Steps that see every sample once, but for a last incomplete batch."""
        return len(self._samples) // self._size

    def training(self, step: int) -> Batch:
        """Batch of training step ``step``, shuffled and augmented."""
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._samples))
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + step)
        batch, rows = self._plain(order[place * self._size : (place + 1) * self._size], generator)
        return self._changed(batch, rows, generator)

    def in_order(self) -> Iterator[Batch]:
        """All samples, in order and unchanged; the last batch may be smaller."""
        for start in range(0, len(self._samples), self._size):
            stop = min(start + self._size, len(self._samples))
            yield self._plain(np.arange(start, stop), None)[0]

    def _plain(self, indices: np.ndarray, generator: torch.Generator | None) -> tuple[Batch, Tensor]:
        images = torch.from_numpy(self._samples.images(indices)).float()
        chunks, real = self._samples.chunks(indices)
        actions = (torch.from_numpy(chunks) - self._mean) / self._std
        sentence = self._samples.sentence(indices)
        first = torch.from_numpy(self._first[sentence])
        options = torch.from_numpy(self._first[sentence + 1]) - first
        draw = torch.zeros(len(indices)) if generator is None else torch.rand(len(indices), generator=generator)
        rows = first + (draw * options).long()
        return Batch(images, self._ids[rows], self._mask[rows], actions, torch.from_numpy(real)), rows

    def _changed(self, batch: Batch, rows: Tensor, generator: torch.Generator) -> Batch:
        if self._augment is None:
            return batch
        batch = batch._replace(images=jitter(batch.images, self._augment, generator))
        if self._augment.flip is None or self._signs is None:
            return batch
        flipped = torch.rand(len(rows), generator=generator) < self._augment.flip.probability
        rows = torch.where(flipped, rows + self._mirror_at, rows)
        physical = batch.actions * self._std + self._mean
        mirror = (physical * self._signs - self._mean) / self._std
        return batch._replace(
            images=torch.where(flipped[:, None, None, None], batch.images.flip(2), batch.images),
            ids=self._ids[rows],
            mask=self._mask[rows],
            actions=torch.where(flipped[:, None, None], mirror, batch.actions),
        )
