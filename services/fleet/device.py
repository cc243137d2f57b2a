"""Who this device is."""

from __future__ import annotations

from pathlib import Path

from jetvla.runtime.errors import FleetError


def machine_id(path: Path = Path("/etc/machine-id")) -> str:
    """The id of machine-id(5), the same from installation on; FleetError if there is none."""
    try:
        found = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise FleetError(f"{path} cannot be read ({error}); make it with systemd-machine-id-setup") from error
    if not found:
        raise FleetError(f"{path} is empty; make it with systemd-machine-id-setup")
    return found
