"""Reading a daemon's ring of spans while it writes."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.spans import HEADER, HEADER_BYTES, MAGIC, SPAN, VERSION, WRITTEN_AT

_SPAN_DTYPE = np.dtype([("begin", "<i8"), ("duration", "<i8"), ("frame", "<i8"), ("stage", "<u4"), ("number", "<u4")])


@dataclass(frozen=True, slots=True)
class Span:
    """One stage that ran. ``frame_ns`` is the capture time of the frame that it worked on, 0 for none."""

    stage: str
    begin_ns: int
    duration_ns: int
    frame_ns: int

    @property
    def end_ns(self) -> int:
        return self.begin_ns + self.duration_ns


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """What one read gave.

    Attributes:
        spans: in the order in which they were written, that is, of their ends.
        lost: how many were overwritten before they were read.
        started_ns: when the daemon started; another value than before means that it was started anew.
        pid: its process.
    """

    spans: tuple[Span, ...]
    lost: int
    started_ns: int
    pid: int


class SpanReader:
    """Follows the ring at ``path``, also across restarts of the daemon that writes it.

    Args:
        from_now: leave out what was written before the first read.
    """

    def __init__(self, path: Path, from_now: bool = False) -> None:
        self._path, self._from_now = path, from_now
        self._inode = -1
        self._read = 0

    def read(self) -> SpanBatch:
        """Everything since the last call; at first, everything that the ring still holds.

        Raises:
            JetvlaError: if there is no ring, or one of another version.
        """
        ring, inode = _open(self._path)
        with ring:
            _, _, _, capacity, _, started_ns, pid, length = HEADER.unpack_from(ring)
            names = ring[HEADER.size : HEADER.size + length].decode().split("\n")
            written = _written(ring)
            if inode != self._inode:
                self._read = written if self._from_now and self._inode < 0 else 0
                self._inode = inode
            first = max(self._read, written - capacity)
            raw = _copied(ring, capacity, first, written)
            # What the writer has come round to meanwhile, and the one that it may be writing, are no longer theirs.
            whole = raw["number"] == (np.arange(first, written) & 0xFFFFFFFF).astype(np.uint32)
            whole &= np.arange(first, written) > _written(ring) - capacity
            lost = first - self._read + int((~whole).sum())
            self._read = written
        return SpanBatch(tuple(_spans(raw[whole], names)), lost, started_ns, pid)


def _open(path: Path) -> tuple[mmap.mmap, int]:
    try:
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            ring = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            magic, version, size, *_ = HEADER.unpack_from(ring)
    except (OSError, ValueError, struct.error) as error:
        raise JetvlaError(f"{path}: no spans can be read ({error}); start the daemons with 'jetvla run'") from error
    if (magic, version, size) != (MAGIC, VERSION, SPAN.size):
        ring.close()
        raise JetvlaError(f"{path} holds no spans of this version; restart the daemons")
    return ring, inode


def _written(ring: mmap.mmap) -> int:
    with memoryview(ring) as all_, all_[WRITTEN_AT] as bytes_, bytes_.cast("Q") as count:
        return int(count[0])


def _copied(ring: mmap.mmap, capacity: int, first: int, end: int) -> NDArray[np.void]:
    """Spans ``first`` to ``end``, copied out of the ring."""
    places = np.arange(first, end) % capacity
    return np.frombuffer(ring[HEADER_BYTES:], _SPAN_DTYPE)[places] if len(places) else np.empty(0, _SPAN_DTYPE)


def _spans(raw: NDArray[np.void], names: list[str]) -> Iterator[Span]:
    columns = (raw[name].tolist() for name in ("stage", "begin", "duration", "frame"))
    for stage, begin_ns, duration_ns, frame_ns in zip(*columns, strict=True):
        yield Span(names[stage], begin_ns, duration_ns, frame_ns)
