"""An episode, whatever it is stored in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EpisodeError


class Episode(Protocol):
    """T steps of one recording.

    An open episode keeps no image, no number and no file: what it keeps is its name, its paths and its sentences as
    runs, some kilobytes. Numbers are read anew when they are asked for (the last ones read are cached), images one at
    a time. Not for use by two threads at once.
    """

    @property
    def name(self) -> str:
        """What the episode is called; unique in its data set."""

    @property
    def cameras(self) -> Sequence[str]:
        """Names of its cameras; ``image`` where the format knows of one only."""

    @property
    def instructions(self) -> Sequence[str]:
        """T sentences, one per step; empty ones where none is recorded."""

    @property
    def actions(self) -> NDArray[np.float32] | None:
        """float32 [T, D], read-only, in the units of the recording; None if none was recorded."""

    @property
    def action_names(self) -> tuple[str, ...] | None:
        """D names, or None if the recording states none."""

    @property
    def state(self) -> NDArray[np.float32] | None:
        """float32 [T, S], read-only; None if none was recorded."""

    @property
    def state_names(self) -> tuple[str, ...] | None:
        """S names, or None if the recording states none."""

    @property
    def fps(self) -> float | None:
        """Steps per second, or None if the recording does not say."""

    def images(self, camera: str, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """The images of ``camera`` at ascending ``steps``, uint8 [H, W, 3] RGB each.

        Raises:
            EpisodeError: no such camera, at once; or, when its turn comes, an image that cannot be read.
            IndexError: a step outside 0..T-1.
            ValueError: steps that do not ascend.
        """

    def __len__(self) -> int:
        """T."""


def check_request(episode: Episode, camera: str, steps: Sequence[int]) -> None:
    """What :meth:`Episode.images` says of a wrong ``camera`` or wrong ``steps``."""
    if camera not in episode.cameras:
        raise EpisodeError(f"{episode.name} has no camera {camera!r}; it has {', '.join(episode.cameras) or 'none'}")
    outside = [step for step in steps if not 0 <= step < len(episode)]
    if outside:
        raise IndexError(f"{episode.name} has steps 0 to {len(episode) - 1}, not {outside[0]}")
    if any(a >= b for a, b in pairwise(steps)):
        raise ValueError("steps must ascend")
