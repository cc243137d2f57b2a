"""Single frames of a video, found by their time stamps and decoded in software by PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EpisodeError, MissingDependency

_REMEDY = "write it again with 'ffmpeg -i IN -c:v libx264 -crf 18 OUT.mp4', or remove its episode"


@dataclass(frozen=True)
class VideoFacts:
    """What the header says; ``frames`` and ``fps`` are None where it does not."""

    width: int
    height: int
    frames: int | None
    fps: float | None


def video_facts(path: Path) -> VideoFacts:
    """Read the header only; EpisodeError if it is missing, damaged, or of an unknown codec."""
    with _opened(path) as stream:
        rate = stream.average_rate
        codec = stream.codec_context
        return VideoFacts(codec.width, codec.height, stream.frames or None, float(rate) if rate else None)


def frame_times(path: Path) -> list[Fraction]:
    """When each frame is shown, seconds, ascending. Reads the whole file, decodes nothing.

    Raises:
        EpisodeError: damaged, empty, or of a container that does not say when its frames are shown.
    """
    with _opened(path) as stream:
        ticks: set[int] = set()
        found = 0
        for packet in _demuxed(path, stream):
            found += packet.size > 0
            if packet.size and packet.pts is None:
                raise EpisodeError(f"{path} does not say when its frames are shown; {_REMEDY}")
            if packet.size and not packet.is_discard:
                ticks.add(packet.pts)
        if not ticks or found < stream.frames:
            raise EpisodeError(f"{path} is truncated: {found} of {stream.frames or 'its'} frames are there; {_REMEDY}")
        return [tick * stream.time_base for tick in sorted(ticks)]


def frames_at(path: Path, times_s: Sequence[Fraction], tolerance_s: Fraction) -> Iterator[NDArray[np.uint8]]:
    """The frames shown at ascending ``times_s``, uint8 [H, W, 3] RGB each.

    One frame and the decoder's own references are in memory, however long the video is. Decoding jumps to a key frame
    where one lies between two wanted frames.

    Raises:
        EpisodeError: naming the file, the frame and the remedy, if a frame is missing or damaged.
    """
    with _opened(path) as stream:
        frames = _begun(path, stream)
        for time in times_s:
            where = f"{path}: the frame at {float(time):.3f} s"
            try:
                frame = frames.at(time, tolerance_s)
            except load_av().FFmpegError as error:
                raise EpisodeError(f"{where} cannot be decoded: {error.strerror}; {_REMEDY}") from None
            if frame is None:
                raise EpisodeError(f"{where} is missing; {_REMEDY}")
            yield _rgb(frame, where)


def load_av() -> ModuleType:
    """PyAV; MissingDependency if it is not installed."""
    try:
        import av
    except ImportError:
        raise MissingDependency("PyAV", "reading episodes from video", "pip install av") from None
    return av


class _Frames:
    """Walks one stream forward, and jumps to key frames where that is shorter."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._container = stream, stream.container
        self._jumps, self._last = True, None
        # Matroska reads its index of key frames at the first seek.
        self._seek(Fraction(0))

    def at(self, time: Fraction, tolerance: Fraction) -> Any:
        """The frame within ``tolerance`` of ``time``, or None; FFmpegError if it cannot be decoded."""
        if self._jumps and self._key_frame_between(time):
            frame = self._jump(time, tolerance)
            if frame is not None:
                return frame
            # Damage, or pictures that refer to what is before their key frame ("open GOP"): the walk from the
            # beginning, which is taken only once, tells these apart.
            self._jumps = False
            self._seek(Fraction(0))
        return self._walk(time, tolerance)

    def _jump(self, time: Fraction, tolerance: Fraction) -> Any:
        self._seek(time)
        try:
            frame = self._walk(time, tolerance)
        except load_av().FFmpegError:
            return None
        return None if frame is None or frame.is_corrupt else frame

    def _walk(self, time: Fraction, tolerance: Fraction) -> Any:
        while self._last is None or self._shown(self._last) < time - tolerance:
            self._last = next(self._decoded, None)
            if self._last is None:
                return None
        return self._last if self._shown(self._last) <= time + tolerance else None

    def _seek(self, time: Fraction) -> None:
        tick = max(int(time / self._stream.time_base), self._stream.start_time or 0)
        self._container.seek(tick, stream=self._stream, backward=True)
        self._decoded, self._last = self._container.decode(self._stream), None

    def _key_frame_between(self, time: Fraction) -> bool:
        entries = self._stream.index_entries
        place = entries.search_timestamp(int(time / self._stream.time_base), backward=True)
        return place >= 0 and (self._last is None or entries[place].timestamp > self._last.pts)

    def _shown(self, frame: Any) -> Fraction:
        shown: Fraction = frame.pts * self._stream.time_base
        return shown


def _begun(path: Path, stream: Any) -> _Frames:
    try:
        return _Frames(stream)
    except load_av().FFmpegError as error:
        raise EpisodeError(f"{path} has no beginning that can be decoded: {error.strerror}; {_REMEDY}") from None


def _rgb(frame: Any, where: str) -> NDArray[np.uint8]:
    if frame.is_corrupt:
        raise EpisodeError(f"{where} is damaged; {_REMEDY}")
    if frame.rotation:
        raise EpisodeError(f"{where} is to be shown turned by {frame.rotation} degrees; {_REMEDY}")
    image: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return image


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    av = load_av()
    try:
        # Who made the video, and with what, may be damaged.
        container = av.open(str(path), metadata_errors="replace")
    except FileNotFoundError:
        raise EpisodeError(f"{path} is missing; put it back, or remove its episode") from None
    except (av.FFmpegError, OSError) as error:
        raise EpisodeError(f"{path} is truncated, or no video: {error.strerror}; {_REMEDY}") from None
    with container:
        stream = next(iter(container.streams.video), None)
        if stream is None or getattr(stream, "codec_context", None) is None:
            raise EpisodeError(f"{path} holds no video that this PyAV can decode; {_REMEDY}")
        # The other cores are the engine's, and one decoder's frames stay few.
        stream.codec_context.thread_count = 1
        # Without it a decoder paints over what is damaged and says nothing.
        stream.codec_context.options = {"err_detect": "explode"}
        yield stream


def _demuxed(path: Path, stream: Any) -> Iterator[Any]:
    try:
        yield from stream.container.demux(stream)
    except load_av().FFmpegError as error:
        raise EpisodeError(f"{path} cannot be read to its end: {error.strerror}; {_REMEDY}") from None
