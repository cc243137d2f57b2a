"""Memory that a process has of a file, and can do without for a while."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

_MADV_DONTNEED = 4
_HEADER = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) .{4} \S+ \S+ \S+ +(/.*)$")


def let_go(file: Path) -> int:
    """Give back the pages of ``file`` that this process has mapped; how many bytes of address space that were.

    They come back, mostly from the page cache, when they are next read. A mapping in which anything was written stays
    as it is, for that would be lost.
    """
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    given = 0
    for start, end in _clean(file.resolve()):
        # Refused for locked memory, which then stays too.
        if madvise(start, end - start, _MADV_DONTNEED) == 0:
            given += end - start
    return given


def _clean(file: Path) -> Iterator[tuple[int, int]]:
    """Start and end of every mapping of ``file`` in which nothing was written."""
    place: tuple[int, int] | None = None
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if header := _HEADER.match(line):
            place = (int(header[1], 16), int(header[2], 16)) if header[3] == str(file) else None
        elif "-" in line.split(":", 1)[0]:
            place = None
        elif place is not None and line.startswith("Anonymous:") and line.split()[1] == "0":
            yield place
