"""One encoded picture (JPEG, PNG, BMP, WebP) as pixels."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EpisodeError

# Of 8 bits per channel: what converts to RGB without loss of meaning. Depth maps ("I;16", "F") do not.
_MODES = ("RGB", "RGBA", "L", "LA", "P", "CMYK", "YCbCr")


def picture(source: Path | IO[bytes], where: str) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB, turned upright; EpisodeError names ``where`` and what is wrong with it."""
    from PIL import Image, ImageOps

    try:
        with Image.open(source) as image:
            if image.mode not in _MODES:
                raise EpisodeError(f"{where} is no colour image of 8 bits (mode {image.mode}); convert or remove it")
            return np.array(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise EpisodeError(f"{where} cannot be read: {error}; replace or remove it") from None
