"""The machine, as far as the checks look at it: files below ``root``, and what programs answer."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_PATIENCE_S = 20.0


class Programs(Protocol):
    """Starts a program."""

    def __call__(self, words: Sequence[str]) -> str | None:
        """Its standard output; None if it is not installed, fails, or does not end in time."""


def ask_program(words: Sequence[str]) -> str | None:
    """The :class:`Programs` of this machine."""
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@dataclass(frozen=True)
class System:
    """This machine, or in a test a folder that is laid out like one."""

    root: Path = Path("/")
    ask: Programs = ask_program

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def text(self, absolute: str) -> str:
        """Empty for what is not there or may not be read."""
        try:
            return self.path(absolute).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def is_jetson(self) -> bool:
        return self.path("/etc/nv_tegra_release").is_file()
