"""Episodes as one long list of samples, resized as the runtime resizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes import Episode
from jetvla.engines.families.settings import ActionNormalization, PolicySettings
from jetvla.runtime.errors import EpisodeError
from jetvla.runtime.preprocess import Resizer

Image = NDArray[np.uint8]
MEGABYTE = 1 << 20
# An action that never varies more than this is left in its own unit.
_STILL = 1e-6


@dataclass(frozen=True)
class Split:
    """Episodes to learn from, and episodes to judge by."""

    train: tuple[Episode, ...]
    held_out: tuple[Episode, ...]


def split_episodes(episodes: Sequence[Episode], part: float, seed: int) -> Split:
    """Hold out ``part`` of the episodes, at least one if ``part`` is above 0 and there are two."""
    count = max(1, round(part * len(episodes))) if part > 0 and len(episodes) > 1 else 0
    chosen = set(np.random.default_rng(seed).permutation(len(episodes))[:count].tolist())
    train = tuple(e for i, e in enumerate(episodes) if i not in chosen)
    return Split(train, tuple(e for i, e in enumerate(episodes) if i in chosen))


def check_dimensions(episodes: Sequence[Episode], settings: PolicySettings) -> None:
    """EpisodeError naming every episode whose actions the action spec does not describe."""
    wanted = len(settings.action)
    wrong = [f"{e.name} ({e.actions.shape[1]})" for e in episodes if e.actions.shape[1] != wanted]
    if wrong:
        raise EpisodeError(
            f"the action spec has {wanted} dimensions ({', '.join(settings.action.names)}); "
            f"episodes with another number: {', '.join(wrong)}"
        )


def action_statistics(episodes: Sequence[Episode]) -> ActionNormalization:
    """Mean and standard deviation of every action dimension."""
    actions = np.concatenate([e.actions for e in episodes]).astype(np.float64)
    std = actions.std(axis=0)
    return ActionNormalization(
        mean=tuple(actions.mean(axis=0).tolist()), std=tuple(np.where(std < _STILL, 1.0, std).tolist())
    )


class Samples:
    """Every step of some episodes.

    Attributes:
        images_in_memory: False if they exceed the given memory and are read when asked for.
        sentences: the different instructions.
    """

    def __init__(self, episodes: Sequence[Episode], settings: PolicySettings, memory_mb: int) -> None:
        camera = settings.cameras[0]
        self._episodes = episodes
        self._horizon = settings.horizon
        self._resize = Resizer(camera.height, camera.width, settings.resize)
        self._of = [(e, s) for e, episode in enumerate(episodes) for s in range(len(episode))]
        self.sentences = sorted({text for episode in episodes for text in episode.instructions})
        number = {text: i for i, text in enumerate(self.sentences)}
        self._sentence = np.array([number[t] for e in episodes for t in e.instructions], np.int64)
        shape = (len(self), camera.height, camera.width, 3)
        self.images_in_memory = int(np.prod(shape)) <= memory_mb * MEGABYTE
        self._images = np.empty(shape if self.images_in_memory else (0, *shape[1:]), np.uint8)
        for index in range(len(self._images)):
            self._read(index, self._images[index])

    def __len__(self) -> int:
        return len(self._of)

    def _read(self, index: int, out: Image) -> None:
        episode, step = self._of[index]
        self._resize(self._episodes[episode].image(step), out)

    def images(self, indices: NDArray[np.int64]) -> Image:
        """uint8 [N, H, W, 3]."""
        if self.images_in_memory:
            return self._images[indices]
        out = np.empty((len(indices), *self._images.shape[1:]), np.uint8)
        for row, index in enumerate(indices):
            self._read(int(index), out[row])
        return out

    def sentence(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in :attr:`sentences`, [N]."""
        numbers: NDArray[np.int64] = self._sentence[indices]
        return numbers

    def chunks(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Actions [N, horizon, D], the last one repeated past an episode's end; and 1 or 0 [N, horizon, 1] where
        an action was really recorded."""
        actions, real = [], []
        for index in indices:
            episode, step = self._of[int(index)]
            recorded = self._episodes[episode].actions
            steps = np.arange(step, step + self._horizon)
            actions.append(recorded[np.minimum(steps, len(recorded) - 1)])
            real.append(steps < len(recorded))
        return np.stack(actions).astype(np.float32), np.stack(real)[:, :, None].astype(np.float32)
