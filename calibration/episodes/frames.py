"""Folders of images as episodes: frames and a sentence, no actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes.episode import check_request
from jetvla.calibration.episodes.pictures import picture
from jetvla.calibration.episodes.sentences import read_sentences
from jetvla.runtime.errors import EpisodeError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
INSTRUCTIONS = "instructions.txt"
CAMERA = "image"


def holds(data: Path) -> bool:
    """Is ``data`` a folder with images, or of such folders?"""
    return data.is_dir() and bool(_folders(data))


def read(data: Path) -> list[FramesEpisode | EpisodeError]:
    """``data`` itself if it holds images, and its sub-folders that do, sorted by name; or what is wrong with each."""
    return [_checked(folder) for folder in _folders(data)]


@dataclass(frozen=True, eq=False)
class FramesEpisode:
    """Every image of one folder is a step, in the order of their names. ``images`` holds their names and one image."""

    folder: Path
    instructions: Sequence[str]
    cameras = (CAMERA,)
    actions = None
    action_names = None
    state = None
    state_names = None
    fps = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    def __len__(self) -> int:
        return len(self.instructions)

    def images(self, camera: str, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """uint8 [H, W, 3] each; see :meth:`Episode.images`."""
        check_request(self, camera, steps)
        return self._images(steps)

    def _images(self, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        files = _images_of(self.folder)
        if len(files) != len(self):
            raise EpisodeError(f"{self.folder} had {len(self)} images when it was opened, and has {len(files)} now")
        return (picture(files[step], str(files[step])) for step in steps)


def _images_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def _folders(data: Path) -> list[Path]:
    candidates = [data, *sorted(p for p in data.iterdir() if p.is_dir())]
    return [folder for folder in candidates if any(p.suffix.lower() in SUFFIXES for p in folder.iterdir())]


def _checked(folder: Path) -> FramesEpisode | EpisodeError:
    try:
        return FramesEpisode(folder, read_sentences(folder / INSTRUCTIONS, len(_images_of(folder))))
    except EpisodeError as error:
        return error
