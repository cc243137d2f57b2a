"""From a camera image to the policy's input size, by the very resize of training.

Pillow (which torchvision uses) antialiases and OpenCV's linear resize does not: on noise they are up to
139 of 255 levels apart, so the method is a fact of the checkpoint and never a choice of the runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import MissingDependency
from jetvla.runtime.manifest import Fit, ResizeMethod, ResizeSpec

Image = NDArray[np.uint8]
# Fills the second image with the first one, resized.
_Scale = Callable[[Image, Image], None]


class Window(NamedTuple):
    """A rectangle of whole pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: Image) -> Image:
        """The part of ``image`` [H, W, 3] inside, as a view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def _centred(height: int, width: int, inside: tuple[int, int]) -> Window:
    return Window((inside[0] - height) // 2, (inside[1] - width) // 2, height, width)


def _largest(aspect: tuple[int, int], inside: tuple[int, int]) -> Window:
    """The largest centred window of ratio ``aspect`` (height, width) inside a size; fractions are cut off."""
    height, width = inside
    if aspect[0] * width <= aspect[1] * height:
        height = max(1, aspect[0] * width // aspect[1])
    else:
        width = max(1, aspect[1] * height // aspect[0])
    return _centred(height, width, inside)


def placement(source: tuple[int, int], target: tuple[int, int], fit: Fit) -> tuple[Window, Window]:
    """Which window of the source is scaled onto which window of the target; sizes are (height, width)."""
    from_all, to_all = Window(0, 0, *source), Window(0, 0, *target)
    if fit == "pad":
        return from_all, _largest(source, target)
    if fit == "crop":
        return _largest(target, source), to_all
    return from_all, to_all


def _pillow(filter_name: str) -> _Scale:
    try:
        import PIL.Image
    except ImportError:
        raise MissingDependency("Pillow", "this bundle's resize", "pip install pillow") from None
    resample = PIL.Image.Resampling[filter_name]

    def scale(source: Image, target: Image) -> None:
        size = (target.shape[1], target.shape[0])
        target[...] = np.asarray(PIL.Image.fromarray(source).resize(size, resample))

    return scale


def _opencv(filter_name: str) -> _Scale:
    try:
        import cv2
    except ImportError:
        raise MissingDependency("OpenCV", "this bundle's resize", "pip install opencv-python-headless") from None
    interpolation: int = getattr(cv2, filter_name)

    def scale(source: Image, target: Image) -> None:
        cv2.resize(source, (target.shape[1], target.shape[0]), dst=target, interpolation=interpolation)

    return scale


_METHODS: dict[ResizeMethod, tuple[Callable[[str], _Scale], str]] = {
    "pillow_bilinear": (_pillow, "BILINEAR"),
    "pillow_bicubic": (_pillow, "BICUBIC"),
    "opencv_linear": (_opencv, "INTER_LINEAR"),
    "opencv_area": (_opencv, "INTER_AREA"),
}


class Resizer:
    """Resizes images to one size; loads its library once and works into a given buffer.

    ``pad`` keeps the whole image and centres it on black; ``crop`` first cuts the centre to the target's
    aspect ratio.
    """

    def __init__(self, height: int, width: int, spec: ResizeSpec) -> None:
        load, filter_name = _METHODS[spec.method]
        self._scale = load(filter_name)
        self._target = (height, width)
        self._fit: Fit = spec.fit
        self._source: tuple[int, int] | None = None
        self._taken = self._filled = Window(0, 0, height, width)

    def __call__(self, image: Image, out: Image | None = None) -> Image:
        """``image`` uint8 [H, W, 3] as uint8 [height, width, 3], in ``out`` if given, else in a new array."""
        size = (image.shape[0], image.shape[1])
        if size != self._source:
            self._taken, self._filled = placement(size, self._target, self._fit)
            self._source = size
        if out is None:
            out = np.empty((*self._target, 3), np.uint8)
        if self._filled[2:] != self._target:
            out[...] = 0
        self._scale(self._taken.of(image), self._filled.of(out))
        return out


def resize(image: Image, height: int, width: int, spec: ResizeSpec) -> Image:
    """``image`` uint8 [H, W, 3] as uint8 [height, width, 3]; exactly what the library in ``spec`` gives."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image must be uint8 [H, W, 3], not {image.dtype} {image.shape}")
    return Resizer(height, width, spec)(image)
