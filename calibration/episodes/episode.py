"""An episode, whatever it is stored in, read one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EpisodeError


class Episode(Protocol):
    """T steps of one recording. Nothing but sizes and sentences is in memory until a step is asked for."""

    @property
    def name(self) -> str:
        """What the episode is called; unique in its directory."""

    @property
    def instructions(self) -> Sequence[str]:
        """T sentences, one per step."""

    @property
    def actions(self) -> NDArray[np.float32]:
        """float32 [T, D], in the units of the policy's action spec."""

    @property
    def state(self) -> NDArray[np.float32] | None:
        """float32 [T, S], or None if none was recorded."""

    def image(self, step: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB of ``step``; IndexError outside 0..T-1; EpisodeError if it cannot be read."""

    def images(self, start: int, stop: int) -> NDArray[np.uint8]:
        """uint8 [N, H, W, 3] of steps ``start`` to ``stop`` - 1; faster than one at a time."""

    def __len__(self) -> int:
        """T."""


class EpisodeReader(Protocol):
    """One storage format."""

    def files(self, directory: Path) -> Sequence[Path]:
        """The episodes in ``directory``, sorted by name."""

    def open(self, path: Path) -> Episode:
        """The episode at ``path``; EpisodeError says what is wrong with it."""


def open_episodes(directory: Path, reader: EpisodeReader | None = None) -> list[Episode]:
    """Every episode of ``directory``, sorted by name.

    Args:
        directory: a folder with at least one episode.
        reader: the format; HDF5 if None.

    Raises:
        EpisodeError: no such folder, no episodes in it, or bad ones; all the bad ones are named.
    """
    if reader is None:
        from jetvla.calibration.episodes.hdf5 import Hdf5Reader

        reader = Hdf5Reader()
    if not directory.is_dir():
        raise EpisodeError(f"{directory} is not a directory of episodes")
    opened = [_open(reader, path) for path in reader.files(directory)]
    episodes = [e for e in opened if not isinstance(e, EpisodeError)]
    problems = [str(e) for e in opened if isinstance(e, EpisodeError)]
    if problems:
        raise EpisodeError("bad episode files, to be repaired or removed:\n" + "\n".join(problems))
    if not episodes:
        raise EpisodeError(f"{directory} has no episodes; 'jetvla simulate --record {directory}' makes some")
    return episodes


def _open(reader: EpisodeReader, path: Path) -> Episode | EpisodeError:
    try:
        return reader.open(path)
    except EpisodeError as error:
        return error
