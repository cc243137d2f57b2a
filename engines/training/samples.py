"""Episodes as one long list of samples, resized as the runtime resizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes import Episode
from jetvla.engines.families.settings import ActionNormalization, PolicySettings
from jetvla.engines.observations import camera_names
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


def recorded_actions(episode: Episode) -> NDArray[np.float32]:
    """float32 [T, D]; EpisodeError if ``episode`` has none."""
    if episode.actions is None:
        raise EpisodeError(f"{episode.name} has no actions, only images; a policy is trained and judged with actions")
    return episode.actions


def check_dimensions(episodes: Sequence[Episode], settings: PolicySettings) -> None:
    """EpisodeError naming every episode whose actions the action spec does not describe."""
    wanted = len(settings.action)
    widths = [(episode.name, recorded_actions(episode).shape[1]) for episode in episodes]
    wrong = [f"{name} ({width})" for name, width in widths if width != wanted]
    if wrong:
        raise EpisodeError(
            f"the action spec has {wanted} dimensions ({', '.join(settings.action.names)}); "
            f"episodes with another number: {', '.join(wrong)}"
        )


def action_statistics(episodes: Sequence[Episode]) -> ActionNormalization:
    """Mean and standard deviation of every action dimension."""
    actions = np.concatenate([recorded_actions(e) for e in episodes]).astype(np.float64)
    std = actions.std(axis=0)
    return ActionNormalization(
        mean=tuple(actions.mean(axis=0).tolist()), std=tuple(np.where(std < _STILL, 1.0, std).tolist())
    )


class Samples:
    """Every step of some episodes. Actions and numbers of sentences are in memory, images if they fit.

    Attributes:
        images_in_memory: False if they exceed the given memory and are read when asked for.
        sentences: the different instructions.
    """

    def __init__(self, episodes: Sequence[Episode], settings: PolicySettings, memory_mb: int) -> None:
        camera = settings.cameras[0]
        self._episodes = episodes
        self._cameras = [camera_names(settings, episode)[camera.name] for episode in episodes]
        self._horizon = settings.horizon
        self._resize = Resizer(camera.height, camera.width, settings.resize)
        self._ends = np.cumsum([len(episode) for episode in episodes])
        self._actions = np.concatenate([recorded_actions(episode) for episode in episodes])
        self.sentences = sorted({text for episode in episodes for text in episode.instructions})
        number = {text: i for i, text in enumerate(self.sentences)}
        self._sentence = np.array([number[t] for e in episodes for t in e.instructions], np.int64)
        shape = (len(self), camera.height, camera.width, 3)
        self.images_in_memory = int(np.prod(shape)) <= memory_mb * MEGABYTE
        self._images = np.empty(shape if self.images_in_memory else (0, *shape[1:]), np.uint8)
        if self.images_in_memory:
            self._read(np.arange(len(self)), self._images)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _read(self, indices: NDArray[np.int64], out: Image) -> None:
        """Resized images of ``indices``, any order, into ``out``: of every episode ascending, as it is read fastest."""
        order = np.argsort(indices, kind="stable")
        owner = np.searchsorted(self._ends, indices[order], side="right")
        for number in np.unique(owner):
            rows = order[owner == number]
            episode = self._episodes[number]
            steps = indices[rows] - (self._ends[number] - len(episode))
            images = episode.images(self._cameras[number], steps.tolist())
            for row, image in zip(rows, images, strict=True):
                self._resize(image, out[row])

    def images(self, indices: NDArray[np.int64]) -> Image:
        """uint8 [N, H, W, 3] of N different samples."""
        if self.images_in_memory:
            return self._images[indices]
        out = np.empty((len(indices), *self._images.shape[1:]), np.uint8)
        self._read(indices, out)
        return out

    def sentence(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in :attr:`sentences`, [N]."""
        numbers: NDArray[np.int64] = self._sentence[indices]
        return numbers

    def chunks(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Actions [N, horizon, D], the last one repeated past an episode's end; and 1 or 0 [N, horizon, 1] where
        an action was really recorded."""
        last = self._ends[np.searchsorted(self._ends, indices, side="right")] - 1
        steps = indices[:, None] + np.arange(self._horizon)
        real = steps <= last[:, None]
        return self._actions[np.minimum(steps, last[:, None])], real[:, :, None].astype(np.float32)
