"""What ran when, of the last minute or more: a ring of fixed size in a file that other processes read.

A daemon writes every stage that it ran into its own ring, always; whoever wants to know (``jetvla trace``, ``top``,
metrics, ``profile``) reads the file and costs the daemon nothing. The file is a header of 4096 bytes, little-endian::

    magic "JVLASPAN" 8s · version u16 · bytes of a span u16 · capacity u32 · written u64 · started_ns i64 · pid u32 ·
    bytes of names u32 · names, UTF-8, a line each

and then ``capacity`` spans of 32 bytes: begin_ns i64, duration_ns i64, frame_ns i64, stage u32 (line of its name),
number u32 (how many were written before it, modulo 2³²). Span n lies at place n modulo capacity.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from jetvla.runtime.telemetry.stages import STAGE_NAMES

MAGIC = b"JVLASPAN"
VERSION = 1
HEADER_BYTES = 4096
CAPACITY = 1 << 16

HEADER = struct.Struct("<8sHHIQqII")
WRITTEN_AT = slice(16, 24)
SPAN = struct.Struct("<qqqII")

_STAGE_NUMBERS = {name: number for number, name in enumerate(STAGE_NAMES)}


class SpanSink(Protocol):
    """Where a daemon's spans go."""

    def add(self, stage: str, begin_ns: int, duration_ns: int, frame_ns: int = 0) -> None:
        """One stage has run.

        Args:
            stage: name in :data:`~jetvla.runtime.telemetry.stages.STAGES`.
            begin_ns: on the monotonic clock.
            frame_ns: capture time of the frame that it worked on, which ties spans of both processes together; 0 if
                it worked on none.
        """


class NoSpans:
    """Keeps nothing."""

    def add(self, stage: str, begin_ns: int, duration_ns: int, frame_ns: int = 0) -> None:
        """Forget it."""


class SpanRing:
    """A daemon's ring. One thread writes; any number of processes read.

    Args:
        path: the file; a former one is replaced, so that a reader of it notices.
        started_ns: when the daemon started, on the monotonic clock.
        capacity: number of spans.

    Raises:
        OSError: if the file cannot be made whole. Its blocks are there from the start: a disk that is full later
            would end a process that writes into a hole.
    """

    def __init__(self, path: Path, started_ns: int, capacity: int = CAPACITY) -> None:
        self._capacity, self._written = capacity, 0
        size = HEADER_BYTES + capacity * SPAN.size
        names = "\n".join(STAGE_NAMES).encode()
        header = HEADER.pack(MAGIC, VERSION, SPAN.size, capacity, 0, started_ns, os.getpid(), len(names))
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)
                self._map = mmap.mmap(file.fileno(), size)
            self._map[: len(header) + len(names)] = header + names
            # As one store of a machine word: :mod:`struct` writes byte by byte, and a reader would see half of it.
            self._count = memoryview(self._map)[WRITTEN_AT].cast("Q")
            partial.replace(path)
        except OSError:
            with suppress(OSError):
                partial.unlink()
            raise
        self._path = path

    def add(self, stage: str, begin_ns: int, duration_ns: int, frame_ns: int = 0) -> None:
        """Write one span over the oldest; see :class:`SpanSink`."""
        number = self._written
        place = HEADER_BYTES + number % self._capacity * SPAN.size
        SPAN.pack_into(self._map, place, begin_ns, duration_ns, frame_ns, _STAGE_NUMBERS[stage], number & 0xFFFFFFFF)
        self._written = number + 1
        self._count[0] = number + 1

    def close(self) -> None:
        """Stop writing; the file stays, for whoever asks what happened last."""
        self._count.release()
        self._map.close()
