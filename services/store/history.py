"""``history.jsonl``: what happened to the store, one JSON line each, only ever appended to."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from jetvla.runtime.disk import sync

log = logging.getLogger("jetvla.store")

What = Literal["installed", "activated", "committed", "failed", "rolled back", "removed"]
Verdict = Literal["committed", "failed", "rolled back"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        what: ``committed`` and ``failed`` are how a trial ended.
        version: of the bundle.
        detail: why, and which rules were set aside by the operator.
        time: wall clock, UTC; empty while it is not written.
    """

    what: What
    digest: str
    version: int
    name: str
    detail: str = ""
    time: str = ""

    @property
    def level(self) -> int:
        """In the journal; what an operator set aside, and what failed, are warnings."""
        set_aside = self.what in ("installed", "activated") and self.detail
        return logging.WARNING if set_aside or self.what in ("failed", "rolled back") else logging.INFO


class History:
    """The file; lines that a power cut tore are passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entry: Entry) -> None:
        """Append ``entry`` to the file, and say it in the journal."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        line = json.dumps({**asdict(entry), "time": now}).encode() + b"\n"
        new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # What was torn stays as it is, on a line of its own.
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" + line if torn else line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            # Whatever the umask is.
            self._path.chmod(0o644)
            sync(self._path.parent)
        said = f"{entry.name} version {entry.version} ({entry.digest[:12]}) {entry.what}"
        log.log(entry.level, "%s", f"{said}: {entry.detail}".rstrip(": "))

    def entries(self) -> tuple[Entry, ...]:
        """All of them, oldest first."""
        if not self._path.exists():
            return ()
        found = (_parse(line) for line in self._path.read_bytes().splitlines())
        return tuple(entry for entry in found if entry is not None)

    def highest(self) -> int:
        """The highest version that was ever committed; 0 if none was."""
        return max((entry.version for entry in self.entries() if entry.what == "committed"), default=0)

    def verdict(self, digest: str) -> Verdict | None:
        """How a bundle's last trial ended, or that an operator went back from it since; None if it has had no trial, or
        one has begun since.
        """
        left = False
        for entry in reversed(self.entries()):
            if entry.digest != digest:
                continue
            if entry.what == "failed":
                return "failed"
            if entry.what == "activated" or entry.what == "committed":
                return "rolled back" if left else "committed" if entry.what == "committed" else None
            left = left or entry.what == "rolled back"
        return "rolled back" if left else None


def _parse(line: bytes) -> Entry | None:
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
