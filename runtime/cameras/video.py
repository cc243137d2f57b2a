"""A video file through PyAV, which decodes the AV1 of LeRobot data sets (OpenCV's wheels do not)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.runtime.cameras.base import ImageTopics
from jetvla.runtime.cameras.paced import PacedCamera, Picture
from jetvla.runtime.clock import NS_PER_S, Clock
from jetvla.runtime.errors import CameraError, MissingDependency

if TYPE_CHECKING:
    from jetvla.runtime.config import VideoCamera


def open_camera(name: str, config: VideoCamera, clock: Clock, _: ImageTopics | None) -> PacedCamera:
    """Play the file by its presentation time stamps; CameraError if it cannot be read, at once or later."""
    return PacedCamera(name, clock, partial(play, config.path), config.loop)


def play(path: Path) -> Iterator[Picture]:
    """The pictures of a video file, offsets counted from the first one's presentation time.

    Raises:
        CameraError: naming the file, when it is missing, holds no video, or is corrupt.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependency("PyAV", "a video camera", "pip install av") from error
    first = None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise CameraError(f"{path} holds no video; choose another file for this camera")
            stream = container.streams.video[0]
            # PyAV types it as always there, and it is not for a codec that it does not know.
            if getattr(stream, "codec_context", None) is None:
                raise CameraError(f"{path} is of a codec that this PyAV cannot decode; convert it with ffmpeg")
            # The other cores are the engine's.
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                if frame.pts is None or frame.time_base is None:
                    raise CameraError(f"{path}: a frame has no time stamp; write the file again with ffmpeg")
                pts_ns = round(frame.pts * frame.time_base * NS_PER_S)
                first = pts_ns if first is None else first
                yield Picture(pts_ns - first, partial(frame.to_ndarray, format="rgb24"))
    except av.FFmpegError as error:
        raise CameraError(f"{path} cannot be played: {error}; check the file") from error
    if first is None:
        raise CameraError(f"{path} holds not one frame; check the file")
