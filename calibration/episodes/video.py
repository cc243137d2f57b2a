"""Videos as episodes: frames and a sentence, no actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes.decoder import frame_times, frames_at, video_facts
from jetvla.calibration.episodes.episode import check_request
from jetvla.calibration.episodes.sentences import read_sentences
from jetvla.runtime.errors import EpisodeError

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")
CAMERA = "image"
# Far below the distance of two frames, far above rounding.
_SAME = Fraction(1, 100_000)


def holds(data: Path) -> bool:
    """Is ``data`` a video, or a folder with some?"""
    return bool(_files(data))


def read(data: Path) -> list[VideoEpisode | EpisodeError]:
    """The videos of ``data``, sorted by name, or what is wrong with each."""
    return [_checked(path) for path in _files(data)]


@dataclass(frozen=True, eq=False)
class VideoEpisode:
    """Every frame of one video is a step. ``images`` holds the times of all its frames (about 100 bytes each, which is
    0.02 % of a small frame) and one frame."""

    path: Path
    instructions: Sequence[str]
    fps: float | None
    cameras = (CAMERA,)
    actions = None
    action_names = None
    state = None
    state_names = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    def __len__(self) -> int:
        return len(self.instructions)

    def images(self, camera: str, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """uint8 [H, W, 3] each; see :meth:`Episode.images`."""
        check_request(self, camera, steps)
        return self._images(steps)

    def _images(self, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        times = frame_times(self.path)
        if len(times) != len(self):
            raise EpisodeError(f"{self.path} had {len(self)} frames when it was opened, and has {len(times)} now")
        yield from frames_at(self.path, [times[step] for step in steps], _SAME)


def _files(data: Path) -> list[Path]:
    return sorted(p for p in (data.iterdir() if data.is_dir() else [data]) if p.suffix.lower() in SUFFIXES)


def _checked(path: Path) -> VideoEpisode | EpisodeError:
    try:
        facts, steps = video_facts(path), len(frame_times(path))
        return VideoEpisode(path, read_sentences(path.with_suffix(".txt"), steps), facts.fps)
    except EpisodeError as error:
        return error
