"""LeRobot data sets, versions 2.1 and 3.0, without LeRobot."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes.decoder import frames_at, video_facts
from jetvla.calibration.episodes.episode import check_request
from jetvla.calibration.episodes.lerobot_info import ACTION, INFO, STATE, Info, read_info
from jetvla.calibration.episodes.lerobot_layouts import Footage, Listed, find_layout
from jetvla.calibration.episodes.lerobot_scan import Segment, scan
from jetvla.calibration.episodes.pictures import picture
from jetvla.calibration.episodes.sentences import Sentences
from jetvla.calibration.episodes.tables import cells, numbers
from jetvla.runtime.errors import EpisodeError


def holds(data: Path) -> bool:
    """Is ``data`` the root of a LeRobot data set?"""
    return (data / INFO).is_file()


def read(data: Path) -> list[LeRobotEpisode | EpisodeError]:
    """The episodes of ``data`` in the order of their numbers, or what is wrong with each.

    Every table is read once, some thousand rows at a time; of every video the header.
    """
    info = read_info(data)
    layout = find_layout(data, info)
    listed, tasks = layout.episodes(data, info), layout.tasks(data)
    if len(listed) != info.total_episodes:
        raise EpisodeError(f"{data / INFO} says {info.total_episodes} episodes, but {len(listed)} are listed beside it")
    check = _Check(info, tasks)
    return [check.opened(episode) for episode in listed]


@dataclass(frozen=True, eq=False)
class LeRobotEpisode:
    """Rows of a table, and frames of videos or pictures in that table.

    Memory: see :func:`~jetvla.calibration.episodes.tables.numbers` and
    :func:`~jetvla.calibration.episodes.decoder.frames_at`; nothing stays open.
    """

    listed: Listed
    info: Info
    start: int
    instructions: Sentences

    @property
    def name(self) -> str:
        """``episode_`` and its number."""
        return self.listed.name

    @property
    def cameras(self) -> Sequence[str]:
        """Columns' names without ``observation.images.``."""
        return tuple(self.info.cameras)

    @property
    def actions(self) -> NDArray[np.float32] | None:
        """float32 [T, D] or None."""
        return self._numbers(ACTION)

    @property
    def action_names(self) -> tuple[str, ...] | None:
        """D names or None."""
        return self.info.names(ACTION)

    @property
    def state(self) -> NDArray[np.float32] | None:
        """float32 [T, S] or None."""
        return self._numbers(STATE)

    @property
    def state_names(self) -> tuple[str, ...] | None:
        """S names or None."""
        return self.info.names(STATE)

    @property
    def fps(self) -> float:
        """Steps per second."""
        return self.info.fps

    def __len__(self) -> int:
        return self.listed.length

    def images(self, camera: str, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """uint8 [H, W, 3] each; see :meth:`Episode.images`."""
        check_request(self, camera, steps)
        key = self.info.cameras[camera]
        if key in self.listed.videos:
            return self._frames(self.listed.videos[key], steps)
        return self._pictures(key, steps)

    def _frames(self, footage: Footage, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        period = 1 / Fraction(self.info.fps)
        return frames_at(footage.path, [footage.start_s + step * period for step in steps], period / 2)

    def _pictures(self, key: str, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        found = cells(self.listed.table, key, [self.start + step for step in steps])
        for step, cell in zip(steps, found, strict=True):
            where = f"{self.listed.table}: '{key}' of {self.name}, step {step}"
            encoded = cell.get("bytes") if isinstance(cell, dict) else cell
            if not isinstance(encoded, bytes):
                raise EpisodeError(f"{where} is no picture in the table; embed the images, or record video")
            yield picture(io.BytesIO(encoded), where)

    def _numbers(self, key: str) -> NDArray[np.float32] | None:
        if key not in self.info.features:
            return None
        return numbers(self.listed.table, key, self.info.numbers[key], self.start, len(self))


class _Check:
    """Opens episodes; tables and videos that several of them share are looked at once."""

    def __init__(self, info: Info, tasks: Mapping[int, str]) -> None:
        self._info, self._tasks = info, tasks
        self._frames_in = cache(lambda path: video_facts(path).frames)
        self._segments = cache(self._scanned)

    def opened(self, listed: Listed) -> LeRobotEpisode | EpisodeError:
        try:
            segments = self._segments(listed.table)
            if isinstance(segments, EpisodeError):
                return segments
            segment = segments.get(listed.index, Segment(0))
            self._check(listed, segment)
            return LeRobotEpisode(listed, self._info, segment.start, segment.sentences(self._tasks, listed.table))
        except EpisodeError as error:
            return error

    def _scanned(self, table: Path) -> dict[int, Segment] | EpisodeError:
        pictures = [key for key in self._info.cameras.values() if self._info.features[key].dtype == "image"]
        try:
            return scan(table, self._info.numbers, pictures)
        except EpisodeError as error:
            return error

    def _check(self, listed: Listed, segment: Segment) -> None:
        if segment.rows != listed.length or not segment.rows:
            raise EpisodeError(
                f"{listed.table} has {segment.rows} rows of {listed.name}, the metadata says {listed.length}; "
                "correct the one that is wrong, or remove the episode from both"
            )
        if segment.problem:
            raise EpisodeError(f"{listed.table}: {listed.name}: {segment.problem}")
        for footage in listed.videos.values():
            self._check_frames(listed, footage)

    def _check_frames(self, listed: Listed, footage: Footage) -> None:
        frames = self._frames_in(footage.path)
        needed = listed.length + round(footage.start_s * Fraction(self._info.fps))
        if frames is not None and (frames < needed or (footage.whole and frames != needed)):
            raise EpisodeError(
                f"{footage.path} has {frames} frames, {listed.name} needs {needed}; "
                "record the episode again, or remove it"
            )
