"""Following a daemon's spans across its restarts without losing the last ones before each."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.span_reader import SpanBatch, SpanReader


class RingFollower:
    """Reads the ring at ``path``. The file stays open, so what a daemon wrote last is there after a new one began its
    own. A ring that is gone is read on, for its daemon may still write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._reader = SpanReader(path)

    def read(self) -> tuple[SpanBatch, ...]:
        """Everything since the last call: a batch, or two if the daemon was started anew meanwhile.

        Raises:
            JetvlaError: if there is no ring, or one of another version.
        """
        batches = []
        if self._file is not None and _another(self._path, self._file):
            with suppress(JetvlaError):
                batches.append(self._reader.read())
            self.close()
        if self._file is None:
            self._open()
        try:
            batches.append(self._reader.read())
        except JetvlaError as error:
            if not batches:
                raise JetvlaError(str(error).replace(str(self._open_path()), str(self._path))) from error
        return tuple(batches)

    def close(self) -> None:
        """Let go of the file; the next read opens the ring anew, and reads it from its beginning."""
        if self._file is not None:
            self._file.close()
        self._file, self._reader = None, SpanReader(self._path)

    def _open(self) -> None:
        with suppress(OSError):
            self._file = self._path.open("rb")
            self._reader = SpanReader(self._open_path())

    def _open_path(self) -> Path:
        """A name of the file that holds however often its place is taken."""
        return self._path if self._file is None else Path(f"/proc/self/fd/{self._file.fileno()}")


def _another(path: Path, file: BinaryIO) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
