"""May the policy's account open the camera and the GPU? Without ``render``, cuInit answers 801 on a Jetson."""

from __future__ import annotations

import os
from collections.abc import Iterator

from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System
from jetvla.services.policy_account import ACCOUNT

NEEDED = ("video", "render")


def accounts(system: System) -> Iterator[Finding]:
    """Of the service's account where it is made, else of whoever asks."""
    users = {line.split(":", 1)[0] for line in system.text("/etc/passwd").splitlines()}
    service = ACCOUNT in users
    name = ACCOUNT if service else os.environ.get("SUDO_USER") or os.environ.get("USER") or "root"
    if name == "root":
        yield Finding("groups", True, "root may open every device")
        return
    missing = [group for group in NEEDED if name not in _members(system, group)]
    yield Finding(
        "groups",
        not missing,
        f"{name} is not in {' and '.join(missing)}" if missing else f"{name} is in {' and '.join(NEEDED)}",
        f"sudo usermod --append --groups {','.join(missing)} {name}, then restart (or log in again)",
        needed=service and system.is_jetson,
    )


def _members(system: System, group: str) -> set[str]:
    """Accounts that ``/etc/group`` lists, and those whose own group it is."""
    fields = [line.split(":") for line in system.text("/etc/group").splitlines()]
    found = next((f for f in fields if f[0] == group and len(f) == 4), None)
    if found is None:
        return set()
    passwd = (line.split(":") for line in system.text("/etc/passwd").splitlines())
    return {*found[3].split(","), *(p[0] for p in passwd if len(p) > 3 and p[3] == found[2])}
