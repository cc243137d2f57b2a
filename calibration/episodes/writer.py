"""Writes one episode as HDF5, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes.hdf5 import ACTIONS, IMAGES, INSTRUCTIONS, STATE, load_h5py
from jetvla.runtime.errors import EpisodeError

Compression = Literal["gzip", "lzf"]


def write_episode(
    path: Path,
    images: NDArray[np.uint8],
    instructions: str | Sequence[str],
    actions: NDArray[np.float32],
    state: NDArray[np.float32] | None = None,
    compression: Compression = "lzf",
) -> None:
    """Write T steps to ``path``; a file already there is replaced.

    Args:
        path: where to; its folder must exist.
        images: uint8 [T, H, W, 3] RGB.
        instructions: one sentence for the whole episode, or T of them.
        actions: float32 [T, D].
        state: float32 [T, S].
        compression: ``gzip`` is smaller, ``lzf`` faster.

    Raises:
        EpisodeError: the arrays do not follow the schema or do not fit together.
    """
    _check(path, images, instructions, actions, state)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with load_h5py().File(partial, "w") as file:
            # One chunk per image: reading one step then touches nothing else.
            file.create_dataset(IMAGES, data=images, chunks=(1, *images.shape[1:]), compression=compression)
            file.create_dataset(
                INSTRUCTIONS, data=instructions if isinstance(instructions, str) else list(instructions)
            )
            file.create_dataset(ACTIONS, data=actions)
            if state is not None:
                file.create_dataset(STATE, data=state)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _check(
    path: Path,
    images: NDArray[np.uint8],
    instructions: str | Sequence[str],
    actions: NDArray[np.float32],
    state: NDArray[np.float32] | None,
) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images.size:
        raise EpisodeError(f"{path}: images must be uint8 [T, H, W, 3], not {images.dtype} {list(images.shape)}")
    for name, numbers in (("actions", actions), ("state", state)):
        if numbers is None:
            continue
        if numbers.dtype != np.float32 or numbers.ndim != 2 or len(numbers) != len(images):
            raise EpisodeError(
                f"{path}: {name} must be float32 [{len(images)}, D], not {numbers.dtype} {list(numbers.shape)}"
            )
        if not np.isfinite(numbers).all():
            raise EpisodeError(f"{path}: {name} has values that are not finite")
    if not isinstance(instructions, str) and len(instructions) != len(images):
        raise EpisodeError(f"{path}: {len(instructions)} sentences for {len(images)} steps")
