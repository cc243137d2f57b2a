"""Which Jetson Linux a ``Linux_for_Tegra`` folder holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from jetvla.services.flash.errors import FlashError

BSP_VERSION = Path("nv_tegra/bsp_version")
NV_TEGRA_RELEASE = Path("etc/nv_tegra_release")


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """Such as R36.4.3."""

    branch: int
    major: int
    minor: int

    def __str__(self) -> str:
        return f"R{self.branch}.{self.major}.{self.minor}"


def tools_release(l4t: Path) -> Release:
    """Of the flashing tools, from ``nv_tegra/bsp_version``, a file of shell assignments.

    Raises:
        FlashError: if ``l4t`` is not an unpacked driver package.
    """
    path = l4t / BSP_VERSION
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FlashError(
            f"{path} cannot be read ({error.strerror}); L4T must be the folder Linux_for_Tegra of an unpacked "
            "Jetson_Linux_R*_aarch64.tbz2"
        ) from error
    values = dict(re.findall(r"^BSP_(BRANCH|MAJOR|MINOR)=(\d+)$", text, re.MULTILINE))
    if len(values) != 3:
        raise FlashError(f"{path} names no BSP_BRANCH, BSP_MAJOR and BSP_MINOR; unpack the driver package again")
    return Release(int(values["BRANCH"]), int(values["MAJOR"]), int(values["MINOR"]))


def root_release(root: Path) -> Release | None:
    """Of a root file system, from ``etc/nv_tegra_release``; None if NVIDIA's packages are not in it.

    Its first line is such as ``# R36 (release), REVISION: 4.3, GCID: ...``.
    """
    path = root / NV_TEGRA_RELEASE
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.match(r"# R(\d+) \(release\), REVISION: (\d+)\.(\d+)", text)
    return Release(int(found[1]), int(found[2]), int(found[3])) if found else None
