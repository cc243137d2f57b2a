"""One line of the audit log, and its link to the line before."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

RecordKind = Literal["start", "end", "reload", "lost", "suppressed", "file", "torn", "missing"]
"""Kinds of lines beside those of the guard's events: what happened to the log itself."""

GENESIS = "0" * 64
"""What the very first line names as the hash of the line before."""

LONGEST_REASON = 2000
"""Characters of a reason that are kept: every line is bounded."""


@dataclass(frozen=True, slots=True)
class Link:
    """A line as it was read.

    Attributes:
        seq: number of the line, from 0, across all files.
        prev: SHA-256 of the line before.
        digest: SHA-256 of this line, without its line feed.
        entry: all of it.
    """

    seq: int
    prev: str
    digest: str
    entry: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.entry.get("kind", ""))


def digest_of(line: bytes) -> str:
    """SHA-256 of a line without its line feed, 64 hexadecimal digits."""
    return hashlib.sha256(line).hexdigest()


def forge(entry: Mapping[str, Any], seq: int, prev: str) -> bytes:
    """The line of ``entry``, without a line feed: ASCII JSON, so that no text can break it in two."""
    return json.dumps({"seq": seq, "prev": prev, **entry}, allow_nan=False, separators=(",", ":")).encode()


def parse(line: bytes) -> Link | None:
    """What :func:`forge` made; None if ``line`` is nothing of that form."""
    try:
        entry = json.loads(line)
        seq, prev = entry["seq"], entry["prev"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(seq) is not int or not isinstance(prev, str):
        return None
    return Link(seq, prev, digest_of(line), entry)


def stamped(kind: str, wall_ns: int, t_ns: int, **fields: Any) -> dict[str, Any]:
    """An entry of ``kind``; wall time as ISO 8601 in UTC with microseconds, ``t_ns`` monotonic."""
    seconds, rest = divmod(wall_ns, 1_000_000_000)
    wall = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000)
    return {"wall": wall.isoformat(timespec="microseconds"), "t_ns": t_ns, "kind": kind, **fields}


def numbers(values: tuple[float, ...]) -> list[float | str]:
    """JSON knows no infinity and no NaN: these become their names."""
    return [x if math.isfinite(x) else str(x) for x in values]
