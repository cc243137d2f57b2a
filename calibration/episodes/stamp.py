"""What a file looked like when it was read: part of the key under which its contents are cached."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from jetvla.runtime.errors import EpisodeError


class Stamp(NamedTuple):
    """Size in bytes, and time of the last change."""

    size: int
    changed_ns: int


def stamp(path: Path) -> Stamp:
    """Of ``path``; EpisodeError if it is gone."""
    try:
        status = path.stat()
    except OSError as error:
        raise EpisodeError(f"{path} cannot be read: {error.strerror}; put it back, or remove its episode") from None
    return Stamp(status.st_size, status.st_mtime_ns)
