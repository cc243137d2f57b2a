"""Episodes as HDF5 files: the schema of the course, and ``observations/state`` where there is one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes.episode import check_request
from jetvla.calibration.episodes.sentences import Sentences
from jetvla.calibration.episodes.stamp import Stamp, stamp
from jetvla.runtime.errors import EpisodeError, MissingDependency

IMAGES, INSTRUCTIONS, ACTIONS, STATE = "observations/images", "instructions", "actions", "observations/state"
SUFFIXES = (".hdf5", ".h5")
CAMERA = "image"
# Steps that follow each other are read together, up to this size; a compressed chunk stays unpacked for as long.
_BLOCK_BYTES = 8 << 20


def load_h5py() -> ModuleType:
    """The h5py library; MissingDependency if it is not installed."""
    try:
        import h5py
    except ImportError:
        raise MissingDependency("h5py", "reading and writing episodes", "pip install h5py") from None
    module: ModuleType = h5py
    return module


def holds(data: Path) -> bool:
    """Is ``data`` an HDF5 file, or a folder with some?"""
    return bool(_files(data))


def read(data: Path) -> list[Hdf5Episode | EpisodeError]:
    """The episodes of ``data``, sorted by name, or what is wrong with each."""
    found = [_checked(path) for path in _files(data)]
    usual = {name: _usual(found, name) for name in (ACTIONS, STATE)}
    return [_of_usual_width(episode, usual) for episode in found]


def _usual(found: Sequence[Hdf5Episode | EpisodeError], name: str) -> int | None:
    """How many numbers a step of most episodes has."""
    widths = Counter(e.widths[name] for e in found if isinstance(e, Hdf5Episode) and name in e.widths)
    return widths.most_common(1)[0][0] if widths else None


def _of_usual_width(episode: Hdf5Episode | EpisodeError, usual: Mapping[str, int | None]) -> Hdf5Episode | EpisodeError:
    if isinstance(episode, EpisodeError):
        return episode
    wrong = [
        f"'{name}' has {width} numbers a step, and other episodes {usual[name]}"
        for name, width in episode.widths.items()
        if width != usual[name]
    ]
    return EpisodeError(f"{episode.path}: {'; '.join(wrong)}") if wrong else episode


def open_hdf5(path: Path) -> Hdf5Episode:
    """Check all of the file but its images; EpisodeError says what is wrong."""
    with _opened(path) as file:
        images = _dataset(file, path, IMAGES)
        if not images.shape or not images.shape[0]:
            raise EpisodeError(f"{path}: '{IMAGES}' has no step")
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or not images.size:
            raise _wrong(path, IMAGES, "uint8 [T, H, W, 3]", images)
        widths = {ACTIONS: _check_numbers(file, path, ACTIONS, images.shape[0])}
        if STATE in file:
            widths[STATE] = _check_numbers(file, path, STATE, images.shape[0])
        return Hdf5Episode(path, _sentences(file, path, images.shape[0]), widths)


@dataclass(frozen=True, eq=False)
class Hdf5Episode:
    """One file, opened anew for whatever is asked for, so that thousands of episodes hold no handles.

    Memory: the last two arrays of numbers read from any such episode stay cached; images hold at most 8 MB and one
    image at a time, plus HDF5's own cache of 8 MB.

    Attributes:
        widths: numbers a step by data set, of :data:`ACTIONS` and, if there is one, :data:`STATE`.
    """

    path: Path
    instructions: Sequence[str]
    widths: Mapping[str, int]
    cameras = (CAMERA,)
    action_names = None
    state_names = None
    fps = None

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self.path.stem

    @property
    def actions(self) -> NDArray[np.float32]:
        """float32 [T, D]."""
        return _numbers(self.path, stamp(self.path), ACTIONS)

    @property
    def state(self) -> NDArray[np.float32] | None:
        """float32 [T, S] or None."""
        return _numbers(self.path, stamp(self.path), STATE) if STATE in self.widths else None

    def __len__(self) -> int:
        return len(self.instructions)

    def images(self, camera: str, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """uint8 [H, W, 3] each; see :meth:`Episode.images`."""
        check_request(self, camera, steps)
        return self._images(steps)

    def _images(self, steps: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        with _opened(self.path) as file:
            images = _dataset(file, self.path, IMAGES)
            largest = max(1, _BLOCK_BYTES // int(np.prod(images.shape[1:])))
            for start, stop in _blocks(steps, largest):
                try:
                    block = images[start:stop]
                except OSError as error:
                    raise EpisodeError(
                        f"{self.path}: images {start} to {stop - 1} cannot be read: {error}; "
                        f"record the episode again, or remove the file"
                    ) from None
                yield from block


def _blocks(steps: Sequence[int], largest: int) -> Iterator[tuple[int, int]]:
    """``steps`` as ranges [start, stop) of at most ``largest``."""
    start = stop = None
    for step in steps:
        if start is not None and stop == step and step - start < largest:
            stop = step + 1
            continue
        if start is not None and stop is not None:
            yield start, stop
        start, stop = step, step + 1
    if start is not None and stop is not None:
        yield start, stop


def _files(data: Path) -> list[Path]:
    return sorted(p for p in (data.iterdir() if data.is_dir() else [data]) if p.suffix in SUFFIXES)


def _checked(path: Path) -> Hdf5Episode | EpisodeError:
    try:
        return open_hdf5(path)
    except EpisodeError as error:
        return error


@lru_cache(maxsize=2)
def _numbers(path: Path, _: Stamp, name: str) -> NDArray[np.float32]:
    with _opened(path) as file:
        values: NDArray[np.float32] = np.asarray(_read(_dataset(file, path, name), path, name))
    values.setflags(write=False)
    return values


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = load_h5py()
    try:
        file = h5py.File(path, "r", rdcc_nbytes=_BLOCK_BYTES)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise EpisodeError(f"{path}: truncated, or not an HDF5 file: {reason}") from None
    try:
        with file:
            yield file
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        # Of h5py, wherever it first meets damage.
        raise EpisodeError(f"{path} is damaged: {error}") from error


def _dataset(file: Any, path: Path, name: str) -> Any:
    if not isinstance(file.get(name), load_h5py().Dataset):
        raise EpisodeError(f"{path}: dataset '{name}' is missing")
    return file[name]


def _wrong(path: Path, name: str, wanted: str, found: Any) -> EpisodeError:
    return EpisodeError(f"{path}: '{name}' must be {wanted}, not {found.dtype} {list(found.shape)}")


def _check_numbers(file: Any, path: Path, name: str, steps: int) -> int:
    """How many numbers a step has."""
    data = _dataset(file, path, name)
    if data.dtype != np.float32 or data.ndim != 2:
        raise _wrong(path, name, "float32 [T, D]", data)
    if data.shape[0] != steps:
        raise EpisodeError(f"{path}: '{name}' has {data.shape[0]} steps but '{IMAGES}' has {steps}")
    finite = np.isfinite(_read(data, path, name)).all(axis=1)
    if not finite.all():
        raise EpisodeError(f"{path}: '{name}' has values that are not finite, first at step {finite.argmin()}")
    return int(data.shape[1])


def _sentences(file: Any, path: Path, steps: int) -> Sentences:
    data = _dataset(file, path, INSTRUCTIONS)
    if load_h5py().check_string_dtype(data.dtype) is None or data.ndim > 1:
        raise _wrong(path, INSTRUCTIONS, "one UTF-8 string, or one per step", data)
    if data.size not in (1, steps):
        raise EpisodeError(f"{path}: '{INSTRUCTIONS}' has {data.size} sentences for {steps} steps; give one or {steps}")
    try:
        texts = [_text(value) for value in np.atleast_1d(_read(data, path, INSTRUCTIONS))]
    except UnicodeDecodeError as error:
        raise EpisodeError(f"{path}: '{INSTRUCTIONS}' is not UTF-8: {error}") from None
    return Sentences([(texts[0], steps)]) if len(texts) == 1 else Sentences.of(texts)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _read(data: Any, path: Path, name: str) -> Any:
    try:
        return data[()]
    except (OSError, MemoryError) as error:
        raise EpisodeError(f"{path}: '{name}' cannot be read: {error}") from None
