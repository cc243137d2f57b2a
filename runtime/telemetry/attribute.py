"""A file in which the kernel says one thing: most of ``/sys`` and ``/proc``."""

from __future__ import annotations

import math
from pathlib import Path


def text(path: Path) -> str | None:
    """What ``path`` says, stripped; None if it is not there, may not be read, or its sensor is asleep."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n\t")
    except OSError:
        return None


def number(path: Path) -> float | None:
    """The finite number that ``path`` says; None if it says none."""
    try:
        found = float(text(path) or "")
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def numbered(folder: Path, prefix: str) -> list[Path]:
    """``prefix0, prefix1, ...`` in ``folder``, by their number."""
    names = [p for p in folder.glob(f"{prefix}*") if p.name.removeprefix(prefix).isdigit()]
    return sorted(names, key=lambda p: int(p.name.removeprefix(prefix)))
