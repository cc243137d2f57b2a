"""A trace's file: written as it goes, there when it is whole."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from jetvla.runtime.errors import ConfigError, JetvlaError

_COMPRESSION = 6


class TraceFile:
    """Takes events, and puts them into ``path`` when it is closed without an error; else nothing is left behind.

    Compressed if the name ends in ``.gz``. An older file at ``path`` stays until then.

    Raises:
        ConfigError: ``path`` is a folder or another thing that is no file.
        JetvlaError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._target = path, path.resolve()
        if self._target.exists() and not self._target.is_file():
            raise ConfigError(f"{path} is no file; name one, such as run.json.gz")
        self._partial = self._target.with_name(f".{self._target.name}.{os.getpid()}.partial")
        self._between = "\n"
        self._metadata: dict[str, Any] = {}

    def write(self, events: Iterable[dict[str, Any]]) -> None:
        """Append ``events``."""
        try:
            for event in events:
                self._text.write(self._between + json.dumps(event, allow_nan=False, separators=(",", ":")))
                self._between = ",\n"
        except OSError as error:
            raise self._unwritable(error) from error

    def describe(self, metadata: dict[str, Any]) -> None:
        """What stands at the end, behind the events."""
        self._metadata = metadata

    def __enter__(self) -> TraceFile:
        try:
            self._raw = self._partial.open("wb")
            self._text = io.TextIOWrapper(self._stream(), encoding="utf-8")
            self._text.write('{"displayTimeUnit":"ms","traceEvents":[')
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def _stream(self) -> IO[bytes]:
        if self._target.suffix != ".gz":
            return self._raw
        return gzip.GzipFile("", "wb", _COMPRESSION, self._raw, mtime=0)  # type: ignore[return-value]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._text.write(f'\n],"metadata":{json.dumps(self._metadata, allow_nan=False)}}}\n')
                self._text.close()
                self._raw.close()
                self._partial.replace(self._target)
        except OSError as problem:
            raise self._unwritable(problem) from problem
        finally:
            # A full disk is full for what is still in the buffers, too.
            for stream in (self._text, self._raw):
                with suppress(OSError):
                    stream.close()
            self._partial.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> JetvlaError:
        return JetvlaError(
            f"cannot write {self._path}: {error.strerror}; nothing of it is left, and no older file changed"
        )
