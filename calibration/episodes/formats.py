"""Which formats of episodes there are, and which of them a path holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from jetvla.calibration.episodes import frames, hdf5, lerobot, video
from jetvla.calibration.episodes.episode import Episode
from jetvla.runtime.errors import EpisodeError

# Megabytes (2**20 bytes) that reading images of up to 640x480 may add to a process, however many there are: one image,
# a decoder's references, a block of HDF5, some rows of a table. To be added, because its writer chose their size: two
# pages of pictures, if a table holds those; two row groups of one column, where numbers are asked for.
BOUND_MB = 64


class Format(NamedTuple):
    """``looks`` for people; ``holds``: is a path of it?; ``read``: its episodes, or what is wrong with each."""

    looks: str
    holds: Callable[[Path], bool]
    read: Callable[[Path], Sequence[Episode | EpisodeError]]


# The first one that holds a path reads it: a data set is allowed to lie beside pictures and videos of itself.
FORMATS: tuple[Format, ...] = (
    Format("a LeRobot data set v2.1 or v3.0 (meta/info.json)", lerobot.holds, lerobot.read),
    Format("HDF5 files of the course (*.hdf5, *.h5)", hdf5.holds, hdf5.read),
    Format("a video or a folder of them (*.mp4, *.mkv, *.avi, *.mov, *.webm) with NAME.txt", video.holds, video.read),
    Format("a folder of frames (*.jpg, *.png, *.bmp, *.webp) with instructions.txt", frames.holds, frames.read),
)


def open_episodes(data: Path) -> list[Episode]:
    """Every episode of ``data``, sorted by name. Opening checks all but the images.

    Memory: some kilobytes per episode, whatever its length; and :data:`BOUND_MB` while one is read.

    Args:
        data: a file or folder of one of :data:`FORMATS`.

    Raises:
        EpisodeError: no such path, no episodes in it, or bad ones; all the bad ones are named.
        MissingDependency: the library that reads this format is not installed.
    """
    try:
        opened = _opened(data)
    except OSError as error:
        raise EpisodeError(
            f"{error.filename or data} cannot be read: {error.strerror}; give this user access to it"
        ) from error
    # Episodes that share a bad file share its error.
    problems = dict.fromkeys(str(e) for e in opened if isinstance(e, EpisodeError))
    if problems:
        raise EpisodeError("bad episodes, to be repaired or removed:\n" + "\n".join(problems))
    episodes = [e for e in opened if not isinstance(e, EpisodeError)]
    if not episodes:
        known = "".join(f"\n  {form.looks}" for form in FORMATS)
        raise EpisodeError(f"{data} has no episodes ('jetvla simulate --record DIR' makes some); it may be{known}")
    _check_names(episodes, data)
    return episodes


def _opened(data: Path) -> Sequence[Episode | EpisodeError]:
    if not data.exists():
        raise EpisodeError(f"{data} does not exist")
    form = next((form for form in FORMATS if form.holds(data)), None)
    return [] if form is None else form.read(data)


def _check_names(episodes: Sequence[Episode], data: Path) -> None:
    twice = [name for name, count in Counter(e.name for e in episodes).items() if count > 1]
    if twice:
        raise EpisodeError(f"{data} has more than one episode called {', '.join(twice)}; rename one")
    try:
        "".join(e.name for e in episodes).encode()
    except UnicodeEncodeError as error:
        raise EpisodeError(f"{data}: an episode's name is not UTF-8: {error.object!a}; rename it") from error
