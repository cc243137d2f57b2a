"""The training loop: AdamW, mean squared error, warm-up and cosine schedule, clipping, exact resumption."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from jetvla.calibration.episodes import Episode
from jetvla.engines.checkpoint import assemble, save_checkpoint
from jetvla.engines.policy import Policy
from jetvla.engines.text import TextEncoder, word_tokenizer
from jetvla.engines.training.batches import Batch, Batches, all_wordings
from jetvla.engines.training.curve import LossPoint, plot_losses
from jetvla.engines.training.samples import (
    Samples,
    action_statistics,
    check_dimensions,
    recorded_actions,
    split_episodes,
)
from jetvla.engines.training.settings import LoopSettings, TrainingSettings
from jetvla.engines.training.state import TrainingState, load_state, save_state
from jetvla.runtime.errors import ConfigError

STATE = "training/state.pt"
PLOT = "training/loss.png"


class StepReport(NamedTuple):
    """One step done: ``loss`` on its batch, before it; ``held_out`` after the last step of an epoch."""

    step: int
    total: int
    loss: float
    held_out: float | None


@dataclass(frozen=True)
class _Data:
    train: Batches
    judge: Batches | None
    fingerprint: str


class Trainer:
    """Trains one policy into one folder.

    Args:
        settings: the training file.
        episodes: what to learn from; some are held out.
        folder: becomes a checkpoint folder; ``training/`` in it keeps the state and the loss plot.
    """

    def __init__(self, settings: TrainingSettings, episodes: Sequence[Episode], folder: Path) -> None:
        self._loop, self._folder = settings.training, folder
        torch.manual_seed(self._loop.seed)
        self.policy, self._data = _prepare(settings, episodes)
        self.total = self._loop.epochs * self._data.train.per_epoch
        self._optimizer = _optimizer(self.policy, self._loop)
        self._curve: list[LossPoint] = []
        self.step = 0

    def resume(self) -> None:
        """Go on from the folder's last checkpoint; ConfigError if it was made with other settings or episodes."""
        state = load_state(self._folder / STATE)
        if state.fingerprint != self._data.fingerprint:
            raise ConfigError(
                f"{self._folder} was trained with other settings or episodes; use the same, or another -o"
            )
        self.policy.network.load_state_dict(state.network)
        self._optimizer.load_state_dict(state.optimizer)
        self._curve = [LossPoint(*point) for point in state.curve]
        self.step = state.step
        torch.set_rng_state(state.rng)

    def run(self) -> Iterator[StepReport]:
        """Train to the end, one report per step; checkpoints are written on the way and at the end."""
        while self.step < self.total:
            loss = self._learn(self._data.train.training(self.step))
            self.step += 1
            held_out = self._judge() if self.step % self._data.train.per_epoch == 0 else None
            self._curve.append(LossPoint(self.step, loss, held_out))
            if self.step % self._loop.checkpoint_every == 0 or self.step == self.total:
                self.save()
            yield StepReport(self.step, self.total, loss, held_out)

    def save(self) -> None:
        """Write the checkpoint, the state that :meth:`resume` reads, and the loss plot."""
        save_checkpoint(self.policy, self._folder)
        network, optimizer = self.policy.network.state_dict(), self._optimizer.state_dict()
        curve = [(point.step, point.loss, point.held_out) for point in self._curve]
        state = TrainingState(self._data.fingerprint, self.step, network, optimizer, torch.get_rng_state(), curve)
        save_state(state, self._folder / STATE)
        if self._curve:
            plot_losses(self._curve, self._folder / PLOT)

    def _learn(self, batch: Batch) -> float:
        rate = self._loop.learning_rate * schedule(self.step, self.total, self._loop.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.policy.network.train()
        loss = self._loss(batch)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.policy.network.parameters(), self._loop.clip)
        self._optimizer.step()
        return loss.item()

    def _loss(self, batch: Batch) -> Tensor:
        predicted = self.policy.network(batch.images, batch.ids, batch.mask)
        squared = (predicted - batch.actions).square() * batch.real
        loss: Tensor = squared.sum() / (batch.real.sum() * batch.actions.shape[2])
        return loss

    def _judge(self) -> float | None:
        if self._data.judge is None:
            return None
        self.policy.network.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for batch in self._data.judge.in_order():
                total += self._loss(batch).item() * len(batch.images)
                count += len(batch.images)
        return total / count


def schedule(step: int, total: int, warmup: float) -> float:
    """Part of the peak rate at ``step``: linear rise over ``warmup * total`` steps, then half a cosine to 0."""
    rise = round(warmup * total)
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def _optimizer(policy: Policy, loop: LoopSettings) -> torch.optim.AdamW:
    parameters = [p for p in policy.network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": loop.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=loop.learning_rate)


def _prepare(settings: TrainingSettings, episodes: Sequence[Episode]) -> tuple[Policy, _Data]:
    loop = settings.training
    split = split_episodes(episodes, loop.held_out, loop.seed)
    sentences = sorted({text for episode in episodes for text in episode.instructions})
    text = (
        word_tokenizer(all_wordings(sentences, settings.augment))
        if settings.tokenizer is None
        else TextEncoder.read(settings.tokenizer)
    )
    policy_settings = settings.policy_settings(text.size)
    check_dimensions(episodes, policy_settings)
    actions = action_statistics(split.train)
    policy = assemble(policy_settings, None, actions, text)

    def batches(chosen: Sequence[Episode], augmented: bool) -> Batches:
        samples = Samples(chosen, policy_settings, loop.memory_mb)
        augment = settings.augment if augmented else None
        return Batches(samples, policy_settings, text, actions, loop.batch_size, loop.seed, augment)

    judge = batches(split.held_out, False) if split.held_out else None
    return policy, _Data(batches(split.train, True), judge, _fingerprint(settings, episodes))


def _fingerprint(settings: TrainingSettings, episodes: Sequence[Episode]) -> str:
    sha = hashlib.sha256(settings.model_dump_json(exclude={"training": {"checkpoint_every", "memory_mb"}}).encode())
    for episode in episodes:
        sha.update(episode.name.encode() + recorded_actions(episode).tobytes())
        sha.update("\n".join(episode.instructions).encode())
    return sha.hexdigest()
