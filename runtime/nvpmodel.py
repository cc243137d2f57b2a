"""The power mode of a Jetson, as NVIDIA's nvpmodel tells it and keeps it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

NVPMODEL = Path("usr/sbin/nvpmodel")
# What nvpmodel.service sets at the next boot.
STATUS = Path("var/lib/nvpmodel/status")
# There only while a change waits for a reboot: the mode until then, four digits.
IN_FORCE = Path("run/jetvla-clocks/in-force")
_MODES = Path("etc/nvpmodel.conf")
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class PowerMode:
    """A mode, or why it is not known.

    Attributes:
        name: such as MAXN or 15W; empty if it is not known.
        number: four digits, as nvpmodel keeps it on disk.
        why: it could not be asked.
    """

    name: str = ""
    number: str = ""
    why: str = ""


def power_mode(root: Path) -> PowerMode:
    """The mode in force. Where a change waits for a reboot, nvpmodel may tell of that one already."""
    asked, until_reboot = ask_nvpmodel(root), mode_until_reboot(root)
    if until_reboot in ("", asked.number):
        return asked
    name = power_modes(root).get(until_reboot, "")
    return PowerMode(name, until_reboot, "" if name else f"/{_MODES} does not name mode {int(until_reboot)}")


def ask_nvpmodel(root: Path) -> PowerMode:
    """As ``nvpmodel -q`` tells it."""
    program = root / NVPMODEL
    if not os.access(program, os.X_OK):
        return PowerMode(why=f"there is no {program}, which every Jetson has")
    try:
        asked = subprocess.run([program, "-q"], capture_output=True, text=True, errors="replace", timeout=_ANSWER_S)
    except subprocess.TimeoutExpired:
        return PowerMode(why=f"'nvpmodel -q' did not answer within {_ANSWER_S:g} s")
    except OSError as error:
        return PowerMode(why=f"'nvpmodel -q' cannot be run: {error.strerror}")
    if found := re.search(r"^NV Power Mode:\s*(\S+)(?:\s*\n\s*(\d{1,4})\s*$)?", asked.stdout, re.MULTILINE):
        return PowerMode(found[1], found[2].zfill(4) if found[2] else "")
    said = " ".join((asked.stdout + asked.stderr).split()) or "nothing"
    return PowerMode(why=f"'nvpmodel -q' ended with status {asked.returncode} and said {said[:200]}")


def power_modes(root: Path) -> dict[str, str]:
    """Names by number, four digits, that this Jetson has; empty if no file lists them."""
    listed = re.findall(r"^\s*<\s*POWER_MODEL\s+ID=(\d{1,4})\s+NAME=(\S+)", _read(root / _MODES), re.MULTILINE)
    return {number.zfill(4): name for number, name in listed}


def mode_at_boot(root: Path) -> str:
    """Number of the mode that the next boot sets; empty if none is kept."""
    return _number(root / STATUS, r"pmode:(\d+)")


def mode_until_reboot(root: Path) -> str:
    """Number of the mode in force while a change waits for a reboot; empty if none waits."""
    return _number(root / IN_FORCE, r"\A(\d{4})$")


def _number(path: Path, pattern: str) -> str:
    found = re.search(pattern, _read(path), re.MULTILINE)
    return found.group(1).zfill(4) if found else ""


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
