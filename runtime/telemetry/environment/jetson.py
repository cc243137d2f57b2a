"""What a Jetson says of its software."""

from __future__ import annotations

from pathlib import Path

from jetvla.runtime.telemetry.attribute import text


def jetpack_version(root: Path) -> str | None:
    """Of the package nvidia-jetpack, if dpkg has it installed."""
    for paragraph in (text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") == "nvidia-jetpack" and fields.get("Status", "").endswith(" installed"):
            return fields.get("Version")
    return None
