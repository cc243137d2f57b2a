"""Developer kits that can be flashed, by the names of NVIDIA's board configurations."""

from __future__ import annotations

from dataclasses import dataclass

from jetvla.services.flash.errors import FlashError
from jetvla.services.flash.release import Release

NVIDIA = 0x0955


@dataclass(frozen=True, slots=True)
class Board:
    """One configuration ``NAME.conf`` of ``Linux_for_Tegra``.

    Attributes:
        modules: by USB product id in recovery mode, the modules that the configuration is for.
        oldest: by branch, the first release that suits the board and jetvla.
        r36: options of NVIDIA's tool on branch 36; later branches find layout and storage by themselves.
    """

    name: str
    modules: dict[int, str]
    oldest: dict[int, Release]
    r36: tuple[str, ...] = ()

    def suits(self, release: Release) -> bool:
        first = self.oldest.get(release.branch)
        return first is not None and release >= first


# Product ids: NVIDIA's "Jetson Linux Developer Guide", Quick Start, "force recovery mode" (r36.4 for Orin, r38.4 for
# Thor). Releases: JetPack 6.1 is R36.4, the first with TensorRT 10.3; 6.2 (R36.4.3) brought the "super"
# configurations; JetPack 7.0 is R38.2, for Thor alone; 7.2 is R39.2, for both.
_ORIN_NANO = {
    0x7323: "Orin NX 16 GB",
    0x7423: "Orin NX 8 GB",
    0x7523: "Orin Nano 8 GB",
    0x7623: "Orin Nano 4 GB",
}
_ORIN_AGX = {0x7023: "AGX Orin 64 GB or developer kit", 0x7223: "AGX Orin 32 GB"}
_THOR = {0x7026: "AGX Thor T5000"}
_R36, _R36_SUPER, _R38, _R39 = Release(36, 4, 0), Release(36, 4, 3), Release(38, 2, 0), Release(39, 2, 0)
# The module has no eMMC: its boot firmware is in QSPI flash, its system on NVMe. Quick Start of r36.4.
_NVME = (
    *("--external-device", "nvme0n1p1"),
    *("-c", "tools/kernel_flash/flash_l4t_t234_nvme.xml"),
    *("-p", "-c bootloader/generic/cfg/flash_t234_qspi.xml"),
)

BOARDS = {
    board.name: board
    for board in (
        Board("jetson-orin-nano-devkit", _ORIN_NANO, {36: _R36, 39: _R39}, _NVME),
        Board("jetson-orin-nano-devkit-super", _ORIN_NANO, {36: _R36_SUPER, 39: _R39}, _NVME),
        Board("jetson-agx-orin-devkit", _ORIN_AGX, {36: _R36, 39: _R39}),
        Board("jetson-agx-thor-devkit", _THOR, {38: _R38, 39: _R39}),
    )
}

# Seen under NVIDIA's vendor id, and not in recovery mode.
NOT_RECOVERY = {
    0x7020: "a Jetson that runs Linux",
    0x7035: "a Jetson in the middle of an interrupted flash",
}
# The board automation controller of the AGX kits, on the debug port: there beside the Jetson, and no Jetson.
DEBUG_PORT = 0x7045


def board_named(name: str) -> Board:
    """FlashError lists the boards if there is none such."""
    if name not in BOARDS:
        raise FlashError(f"BOARD={name} is not one of {', '.join(BOARDS)}; an Orin NX takes the Orin Nano's")
    return BOARDS[name]


def module_of(product: int) -> str:
    """What has ``product`` in recovery mode; empty for an unknown id."""
    return next((b.modules[product] for b in BOARDS.values() if product in b.modules), "")
