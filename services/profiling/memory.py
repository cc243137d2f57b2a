"""Memory of processes, as the kernel counts it."""

from __future__ import annotations

import re
from pathlib import Path

_BYTES_PER_KB = 1024
_BYTES_PER_MB = 1e6


def resident_mb(pid: int | str = "self") -> float | None:
    """Resident now; None if the process is gone."""
    return _field(pid, "VmRSS")


def peak_mb(pid: int | str) -> float | None:
    """The largest that was ever resident; None if the process is gone."""
    return _field(pid, "VmHWM")


def _field(pid: int | str, name: str) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB$", status, re.MULTILINE)
    return round(int(found[1]) * _BYTES_PER_KB / _BYTES_PER_MB, 1) if found else None
