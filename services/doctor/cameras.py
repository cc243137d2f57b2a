"""Is each camera there, and may this account open it?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.patient import Patient


def cameras(patient: Patient) -> Iterator[Finding]:
    for name, camera in patient.config.cameras.items():
        what = f"camera {name}"
        if camera.kind == "ros":
            yield Finding(what, True, f"topic {camera.topic}, not looked at")
            continue
        place = Path(camera.device) if camera.kind == "v4l2" else camera.path
        if not place.exists():
            yield Finding(what, False, f"{place} is not there", "connect it, or correct the path; ls /dev/video*")
        elif not os.access(place, os.R_OK):
            yield Finding(what, False, f"{place} may not be opened", "add this account to the group video, or use sudo")
        else:
            yield Finding(what, True, str(place))
