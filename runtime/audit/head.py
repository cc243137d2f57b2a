"""``audit.head``: the newest line that is safe on disk, so that a cut tail is told from an unfinished write."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "audit.head"
_SIZE = 256


@dataclass(frozen=True, slots=True)
class Head:
    """Name of the newest file, number and SHA-256 of the newest line at the last fsync."""

    file: str
    seq: int
    sha256: str

    def write(self, descriptor: int) -> None:
        """Overwrite in place: it needs no room on a full disk."""
        os.pwrite(descriptor, json.dumps(asdict(self)).encode().ljust(_SIZE - 1) + b"\n", 0)


def read_head(folder: Path) -> Head | None:
    """None if there is none, or if it is not readable as one."""
    try:
        fields = json.loads((folder / NAME).read_bytes())
        return Head(str(fields["file"]), int(fields["seq"]), str(fields["sha256"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
