"""Memory that a process has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resident:
    """Memory of one process, MB.

    Attributes:
        pss: proportional set size: a page that processes share is split between them.
        rss: all that is resident, shared pages in full.
        anonymous: what is in no file.
    """

    pss: float
    rss: float
    anonymous: float

    @classmethod
    def of(cls, pid: int) -> Resident:
        """As ``/proc/PID/smaps_rollup`` says it now."""
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        kilobytes = dict(re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE))
        return cls(*(int(kilobytes[name]) * 1024 / 1e6 for name in ("Pss", "Rss", "Anonymous")))
