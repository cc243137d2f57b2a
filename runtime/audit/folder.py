"""The files of an audit log: appended to, rotated by size, never rewritten."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetvla.runtime.audit.chain import GENESIS, Link, RecordKind, digest_of, forge, parse, stamped
from jetvla.runtime.audit.head import NAME as HEAD
from jetvla.runtime.audit.head import Head, read_head

MAX_BYTES = 16 * 1024 * 1024
MAX_FILES = 16
_TAIL = 1024 * 1024
_NAME = re.compile(r"audit-(\d{8})\.jsonl")


def file_number(path: Path) -> int | None:
    """Number in the name of an audit file; None for any other name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def files_of(folder: Path) -> list[Path]:
    """The audit files of ``folder``, oldest first."""
    return sorted(p for p in folder.iterdir() if file_number(p) is not None)


class AuditFolder:
    """Appends lines. Every method may raise OSError, after which :meth:`append` opens anew and recovers.

    The newest ``max_files`` files of at most ``max_bytes`` each are kept: 256 MiB in all by default.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        self._folder, self._max_bytes, self._max_files = folder, max_bytes, max_files
        self._file = self._head = -1
        self._path = folder
        self._size = 0
        self._seq, self._prev = 0, GENESIS
        self._synced = True

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line. If that fails nothing of it is left behind."""
        if self._file < 0:
            self._open()
        line = forge(entry, self._seq, self._prev)
        if self._size and self._size + len(line) >= self._max_bytes:
            self._rotate()
            line = forge(entry, self._seq, self._prev)
        self._write(line)

    def sync(self) -> None:
        """Force what was appended onto the disk, and then say so in ``audit.head``."""
        if self._synced or self._file < 0:
            return
        os.fsync(self._file)
        if os.fstat(self._file).st_nlink == 0:
            self.close()
            raise FileNotFoundError(f"{self._path} was removed while it was written")
        Head(self._path.name, self._seq - 1, self._prev).write(self._head)
        self._synced = True

    def close(self) -> None:
        """Close without another word."""
        for descriptor in (self._file, self._head):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._head = -1

    def _write(self, line: bytes, before: bytes = b"") -> None:
        data = before + line + b"\n"
        try:
            written = os.write(self._file, data)
            if written < len(data):
                # The rest would tell the reason: no space, or the limit of the file's size.
                os.write(self._file, data[written:])
                raise OSError("the line was written in two parts")
        except OSError:
            self._take_back()
            raise
        self._size += len(data)
        self._seq, self._prev = self._seq + 1, digest_of(line)
        self._synced = False

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self.close()  # and recover from a torn line when it is opened again

    # Opening, after whatever has happened before

    def _open(self) -> None:
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            self._head = os.open(self._folder / HEAD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._head, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._recover()
        except BlockingIOError:
            self.close()
            raise BlockingIOError(f"another guard writes into {self._folder}") from None
        except OSError:
            self.close()
            raise

    def _recover(self) -> None:
        """Go on after the last whole line; what is wrong behind it is noted, and kept."""
        files = files_of(self._folder)
        self._seq, self._prev = 0, GENESIS
        fragment, ended = b"", True
        for path in reversed(files):
            link, rest, whole = _tail(path)
            if path == files[-1]:
                fragment, ended = rest, whole
            if link is not None:
                self._seq, self._prev = link.seq + 1, link.digest
                break
        head, following = read_head(self._folder), self._seq
        if files:
            self._continue(files[-1])
            self._end(fragment, b"" if ended else b"\n")
        else:
            self._create(1)
        if head is not None and (missing := head.seq + 1 - following) > 0:
            self._write(forge(_now("missing", count=missing), self._seq, self._prev))

    def _continue(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._path, self._size = path, os.fstat(self._file).st_size

    def _end(self, fragment: bytes, before: bytes) -> None:
        """End a line that a crash has cut short."""
        if fragment:
            # One write ends the torn line and says what it was, so that a second crash cannot part them.
            torn = _now("torn", bytes=len(fragment), sha256=digest_of(fragment))
            self._write(forge(torn, self._seq, self._prev), before)
        elif before:
            os.write(self._file, before)
            self._size += len(before)

    # Rotation

    def _create(self, number: int) -> None:
        path = self._folder / f"audit-{number:08d}.jsonl"
        new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o640)
        old, self._file = self._file, new
        before = self._path, self._size
        self._path, self._size = path, 0
        try:
            self._write(forge(_now("file", number=number), self._seq, self._prev))
        except OSError:
            path.unlink(missing_ok=True)
            unusable = new if self._file == new else old
            if self._file == new:
                self._file, (self._path, self._size) = old, before
            if unusable >= 0:
                os.close(unusable)
            raise
        if old >= 0:
            os.close(old)

    def _rotate(self) -> None:
        self.sync()
        self._create((file_number(self._path) or 0) + 1)
        for path in files_of(self._folder)[: -self._max_files]:
            path.unlink(missing_ok=True)


def _tail(path: Path) -> tuple[Link | None, bytes, bool]:
    """The last line of ``path`` that is one, what stands behind it, and whether the file ends with a line feed."""
    data = path.read_bytes() if (size := path.stat().st_size) <= _TAIL else _last(path, size)
    pieces = data.split(b"\n")
    ended = pieces[-1] == b""
    if ended:
        pieces.pop()
    for index in range(len(pieces), 0, -1):
        if (link := parse(pieces[index - 1])) is not None:
            return link, b"\n".join(pieces[index:]), ended
    return None, b"\n".join(pieces), ended


def _last(path: Path, size: int) -> bytes:
    """A little of the end is enough, and does not hold up the interpreter as all of it would."""
    with path.open("rb") as file:
        file.seek(size - _TAIL)
        return file.read().partition(b"\n")[2]


def _now(kind: RecordKind, **fields: Any) -> dict[str, Any]:
    return stamped(kind, time.time_ns(), time.monotonic_ns(), **fields)
