"""What a Jetson says of its software and its power mode."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.telemetry.attribute import text

_NVPMODEL = Path("usr/sbin/nvpmodel")
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class PowerMode:
    """As ``nvpmodel -q`` tells it.

    Attributes:
        name: such as MAXN or 15W; empty if it could not be asked.
        number: four digits, as nvpmodel keeps it on disk.
        why: it could not be asked.
    """

    name: str = ""
    number: str = ""
    why: str = ""


def power_mode(root: Path) -> PowerMode:
    """Ask nvpmodel."""
    program = root / _NVPMODEL
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


def jetpack_version(root: Path) -> str | None:
    """Of the package nvidia-jetpack, if dpkg has it installed."""
    for paragraph in (text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") == "nvidia-jetpack" and fields.get("Status", "").endswith(" installed"):
            return fields.get("Version")
    return None
