"""Episodes as HDF5 files: the schema of the course, and ``observations/state`` where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EpisodeError, MissingDependency

IMAGES, INSTRUCTIONS, ACTIONS, STATE = "observations/images", "instructions", "actions", "observations/state"
SUFFIXES = (".hdf5", ".h5")


def load_h5py() -> ModuleType:
    """The h5py library; MissingDependency if it is not installed."""
    try:
        import h5py
    except ImportError:
        raise MissingDependency("h5py", "reading and writing episodes", "pip install h5py") from None
    module: ModuleType = h5py
    return module


class Hdf5Reader:
    """Opens ``*.hdf5`` and ``*.h5`` files."""

    def files(self, directory: Path) -> Sequence[Path]:
        """The HDF5 files of ``directory``, sorted by name."""
        return sorted(p for p in directory.iterdir() if p.suffix in SUFFIXES)

    def open(self, path: Path) -> Hdf5Episode:
        """Check the file and read all but its images; EpisodeError says what is wrong."""
        with _opened(path) as file:
            images = _dataset(file, path, IMAGES)
            if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
                raise _wrong(path, IMAGES, "uint8 [T, H, W, 3]", images)
            actions = _numbers(file, path, ACTIONS, images.shape[0])
            state = _numbers(file, path, STATE, images.shape[0]) if STATE in file else None
            sentences = _sentences(file, path, images.shape[0])
        return Hdf5Episode(path, sentences, actions, state)


class Hdf5Episode:
    """One file; its images are read one at a time. Not for use by two threads at once."""

    def __init__(
        self,
        path: Path,
        instructions: Sequence[str],
        actions: NDArray[np.float32],
        state: NDArray[np.float32] | None,
    ) -> None:
        self._path = path
        self._instructions = instructions
        self._actions = actions
        self._state = state

    @property
    def name(self) -> str:
        """The file's name without its suffix."""
        return self._path.stem

    @property
    def instructions(self) -> Sequence[str]:
        """T sentences."""
        return self._instructions

    @property
    def actions(self) -> NDArray[np.float32]:
        """float32 [T, D]."""
        return self._actions

    @property
    def state(self) -> NDArray[np.float32] | None:
        """float32 [T, S] or None."""
        return self._state

    def __len__(self) -> int:
        return len(self._actions)

    def image(self, step: int) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] RGB."""
        # NumPy would count a negative step from the end.
        if not 0 <= step < len(self):
            raise IndexError(f"{self._path.name} has steps 0 to {len(self) - 1}, not {step}")
        return np.asarray(self.images(step, step + 1)[0])

    def images(self, start: int, stop: int) -> NDArray[np.uint8]:
        """uint8 [N, H, W, 3]. The file is opened anew, so that thousands of episodes hold no handles."""
        with _opened(self._path) as file:
            try:
                return np.asarray(file[IMAGES][start:stop])
            except OSError as error:
                raise EpisodeError(f"{self._path}: images {start} to {stop - 1} cannot be read: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = load_h5py()
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise EpisodeError(f"{path}: truncated, or not an HDF5 file: {error}") from None
    with file:
        yield file


def _dataset(file: Any, path: Path, name: str) -> Any:
    if not isinstance(file.get(name), load_h5py().Dataset):
        raise EpisodeError(f"{path}: dataset '{name}' is missing")
    return file[name]


def _wrong(path: Path, name: str, wanted: str, found: Any) -> EpisodeError:
    return EpisodeError(f"{path}: '{name}' must be {wanted}, not {found.dtype} {list(found.shape)}")


def _numbers(file: Any, path: Path, name: str, steps: int) -> NDArray[np.float32]:
    data = _dataset(file, path, name)
    if data.dtype != np.float32 or data.ndim != 2:
        raise _wrong(path, name, "float32 [T, D]", data)
    if data.shape[0] != steps:
        raise EpisodeError(f"{path}: '{name}' has {data.shape[0]} steps but '{IMAGES}' has {steps}")
    values: NDArray[np.float32] = np.asarray(_read(data, path, name))
    if not np.isfinite(values).all():
        raise EpisodeError(f"{path}: '{name}' has values that are not finite")
    return values


def _sentences(file: Any, path: Path, steps: int) -> tuple[str, ...]:
    data = _dataset(file, path, INSTRUCTIONS)
    if load_h5py().check_string_dtype(data.dtype) is None or data.ndim > 1:
        raise _wrong(path, INSTRUCTIONS, "one UTF-8 string, or one per step", data)
    try:
        texts = [_text(value) for value in np.atleast_1d(_read(data, path, INSTRUCTIONS))]
    except UnicodeDecodeError as error:
        raise EpisodeError(f"{path}: '{INSTRUCTIONS}' is not UTF-8: {error}") from None
    if len(texts) == 1:
        texts *= steps
    if len(texts) != steps:
        raise EpisodeError(
            f"{path}: '{INSTRUCTIONS}' has {len(texts)} sentences for {steps} steps; give one or {steps}"
        )
    return tuple(texts)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _read(data: Any, path: Path, name: str) -> Any:
    try:
        return data[()]
    except OSError as error:
        raise EpisodeError(f"{path}: '{name}' cannot be read: {error}") from None
