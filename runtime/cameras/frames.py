"""A folder of images, in the order of their names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.cameras.base import ImageTopics
from jetvla.runtime.cameras.paced import PacedCamera, Picture
from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.errors import CameraError, MissingDependency

if TYPE_CHECKING:
    from jetvla.runtime.config import FramesCamera

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def open_camera(name: str, config: FramesCamera, clock: Clock, _: ImageTopics | None) -> PacedCamera:
    """Play the folder at ``fps``; CameraError if it holds no image, or later, one that cannot be read."""
    return PacedCamera(name, clock, partial(play, config.path, config.fps), config.loop)


def play(folder: Path, fps: float) -> Iterator[Picture]:
    """The images of a folder, ``1 / fps`` apart.

    Raises:
        CameraError: if the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise CameraError(f"{folder} is not a folder; name a folder of images for this camera")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not files:
        raise CameraError(f"{folder} holds no image ({', '.join(SUFFIXES)})")
    for index, file in enumerate(files):
        yield Picture(seconds_to_ns(index / fps), partial(_load, file))


def _load(file: Path) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency("Pillow", "a camera of kind 'frames'", "pip install pillow") from error
    try:
        with Image.open(file) as image:
            return np.array(image.convert("RGB"), np.uint8)
    except (OSError, SyntaxError) as error:
        raise CameraError(f"{file} cannot be read: {error}; replace or remove it") from error
