"""Where images come from: one table of kinds, of which only the configured ones are imported."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from jetvla.runtime.cameras.base import Camera, CameraEnded, CameraTimeout, ImageTopics

if TYPE_CHECKING:
    from jetvla.runtime.clock import Clock
    from jetvla.runtime.config import CameraConfig

__all__ = ["KINDS", "Camera", "CameraEnded", "CameraTimeout", "ImageTopics", "open_camera"]

# Each module has ``open_camera(name, config, clock, topics)``.
KINDS = {
    "video": "jetvla.runtime.cameras.video",
    "frames": "jetvla.runtime.cameras.frames",
    "v4l2": "jetvla.runtime.cameras.v4l2",
    "ros": "jetvla.runtime.cameras.ros",
}


def open_camera(name: str, config: CameraConfig, clock: Clock, topics: ImageTopics | None = None) -> Camera:
    """Open the camera that the bundle calls ``name``; ``topics`` is the process's ROS node, for kind ``ros``.

    Raises:
        CameraError: naming the device or file, and what to do.
        MissingDependency: if the kind's library is not installed.
    """
    camera: Camera = import_module(KINDS[config.kind]).open_camera(name, config, clock, topics)
    return camera
