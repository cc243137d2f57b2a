"""Whether a camera still shows the world: frozen, dark, of another size, or going back in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.contracts import Frame

# Equal images or equal stamps in a row; a live sensor's noise makes two equal images all but impossible.
FROZEN_FRAMES = 5
# Mean level of 255 below which a policy sees nothing. A covered lens gives 0-5.
DARK_LEVEL = 8.0


@dataclass(frozen=True, slots=True)
class FrameHealth:
    """What is wrong with one frame.

    Attributes:
        frozen: the last :data:`FROZEN_FRAMES` frames have equal images, or equal stamps.
        dark: the mean level is below :data:`DARK_LEVEL`.
        size_changed: it has not the size of the camera's first frame.
        time_back: it was captured before the frame before it.
    """

    frozen: bool = False
    dark: bool = False
    size_changed: bool = False
    time_back: bool = False


class HealthMonitor:
    """Watches the frames of one camera."""

    def __init__(self) -> None:
        self._last: Frame | None = None
        self._shape: tuple[int, ...] = ()
        self._same_image = self._same_stamp = 1

    def check(self, frame: Frame) -> FrameHealth:
        """Judge the next frame. Cheap unless the image equals the one before."""
        last, self._last = self._last, frame
        if last is None:
            self._shape = frame.image.shape
            return FrameHealth(dark=_is_dark(frame.image))
        self._same_image = self._same_image + 1 if _equal(last.image, frame.image) else 1
        self._same_stamp = self._same_stamp + 1 if last.t_ns == frame.t_ns else 1
        return FrameHealth(
            frozen=max(self._same_image, self._same_stamp) >= FROZEN_FRAMES,
            dark=_is_dark(frame.image),
            size_changed=frame.image.shape != self._shape,
            time_back=frame.t_ns < last.t_ns,
        )


def _equal(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    # A few rows tell nearly all different images apart, at a sixteenth of the cost.
    return np.array_equal(one[::16], other[::16]) and np.array_equal(one, other)


def _is_dark(image: NDArray[np.uint8]) -> bool:
    return bool(image[::8, ::8].mean() < DARK_LEVEL)
