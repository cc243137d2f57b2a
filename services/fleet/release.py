"""A release: one bundle in the repository, and the share of devices that are to take it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tuf.api.metadata import TargetFile

from jetvla.runtime.errors import FleetError


@dataclass(frozen=True, slots=True)
class Release:
    """What the signed ``custom`` metadata of a target says.

    Attributes:
        digest: of the bundle.
        version: of the bundle.
        name: of the policy, for people.
        percent: of the devices, 0 to 100.
    """

    digest: str
    version: int
    name: str
    percent: float

    @property
    def path(self) -> str:
        """Of the target. It does not depend on the percentage, so that a rollout can grow."""
        return f"{self.version}-{self.digest[:16]}.jetvla"

    def custom(self) -> dict[str, Any]:
        """For :attr:`TargetFile.custom`. Signed metadata has no fractions, so percents are a text."""
        return {**asdict(self), "percent": f"{self.percent:g}"}

    @classmethod
    def of(cls, target: TargetFile) -> Release:
        """Read a target; FleetError if it is none of ours."""
        try:
            custom = dict(target.custom or {})
            release = cls(**{**custom, "percent": float(custom["percent"])})
            good = re.fullmatch(r"[0-9a-f]{64}", release.digest) and 0 <= release.percent <= 100
            if not (good and isinstance(release.version, int) and release.path == target.path):
                raise ValueError("a field is out of range")
        except (KeyError, TypeError, ValueError) as error:
            raise FleetError(
                f"target {target.path} is no release of 'jetvla fleet' ({error}); publish it again"
            ) from error
        return release

    def reaches(self, machine_id: str) -> bool:
        """Whether a device is among the share: always the same ones, others for another release, and none leaves as the
        share grows.
        """
        seed = f"{machine_id}\0{self.path}".encode()
        return int.from_bytes(hashlib.sha256(seed).digest()[:8], "big") * 100 < self.percent * 2**64


def reaching(machine_id: str, releases: Iterable[Release]) -> list[Release]:
    """Those that reach a device, the highest version first."""
    return sorted((r for r in releases if r.reaches(machine_id)), key=lambda r: r.version, reverse=True)
