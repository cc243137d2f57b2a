"""What a camera is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from jetvla.runtime.contracts import Frame
from jetvla.runtime.errors import CameraError


class CameraTimeout(CameraError):
    """No new frame came in time; one may come yet."""


class CameraEnded(CameraError):
    """The stream is over; no frame will ever come."""


class Camera(Protocol):
    """A source of frames."""

    @property
    def name(self) -> str:
        """The camera's name in the manifest."""

    def read(self, timeout_s: float) -> Frame:
        """The newest frame, if it was not returned before; else wait for the next one.

        Raises:
            CameraTimeout: after ``timeout_s`` without a new frame.
            CameraEnded: when the stream is over.
            CameraError: when the camera failed; it may work when it is opened again.
        """

    def close(self) -> None:
        """Let go of the device."""


class ImageTopics(Protocol):
    """A ROS node that can subscribe to images."""

    def subscribe_images(self, topic: str, compressed: bool, receive: Callable[[Any], None]) -> Callable[[], None]:
        """Call ``receive`` with every message; returns what ends the subscription."""
