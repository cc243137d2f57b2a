"""What must hold before anything is touched: every reason against a flash at once, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jetvla.services.flash.boards import DEBUG_PORT, NOT_RECOVERY, NVIDIA, Board, module_of
from jetvla.services.flash.errors import FlashError
from jetvla.services.flash.host import Host, UsbDevice
from jetvla.services.flash.initrd import tool_of
from jetvla.services.flash.release import Release, root_release, tools_release
from jetvla.services.flash.root import ROOT, original_of

CREATE_USER = Path("tools/l4t_create_default_user.sh")
# One copy of the root file system, the image that NVIDIA's tool makes of it, and its packed form.
_COPIES = 3
_AUTOMOUNTERS = {
    "udisksd": "sudo systemctl stop udisks2.service",
    "gvfs-udisks2-vo": "systemctl --user stop gvfs-udisks2-volume-monitor.service",
}
_RECOVERY = (
    "switch the Jetson off, hold its force-recovery button (Orin Nano kit: bridge pins 9 and 10 of the button "
    "header), switch it on, and plug its USB-C port straight into this machine"
)
_VIRTUAL = (
    "this is a virtual machine: its USB reconnects late when the Jetson changes from recovery to its flashing "
    "system, and many flashes fail there; use a real machine if this one does"
)


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found. ``warnings`` stop nothing."""

    release: Release
    device: UsbDevice
    warnings: tuple[str, ...]


def check(host: Host, board: Board, l4t: Path) -> Preflight:
    """Look at ``host`` and at the unpacked ``l4t``, and change nothing.

    Raises:
        FlashError: one line for every reason against flashing ``board``, each with its remedy.
    """
    release = tools_release(l4t)
    devices = [d for d in host.usb() if d.vendor == NVIDIA and d.product != DEBUG_PORT]
    refusals = [
        *_host(host),
        *_release(board, release, l4t),
        *_root(host, l4t, release),
        *_device(board, devices),
    ]
    if refusals:
        raise FlashError("\n".join([f"{board.name} is not flashed:", *(f"  - {r}" for r in refusals)]))
    return Preflight(release, devices[0], (_VIRTUAL,) if host.is_virtual() else ())


def _host(host: Host) -> Iterator[str]:
    if host.machine() != "x86_64":
        yield (
            f"this machine is {host.machine()}, and NVIDIA's flashing programs are for x86-64 alone; flash from a PC, "
            "or install the .deb on a Jetson that runs"
        )
    if not host.is_root():
        yield "root rights are needed to change a root file system and to reach the Jetson; put sudo before the command"
    if not host.has("qemu-aarch64-static"):
        yield "qemu-aarch64-static is not installed; sudo apt install qemu-user-static binfmt-support"
    elif not host.runs_aarch64():
        yield "the kernel does not hand ARM programs to qemu; sudo update-binfmts --enable qemu-aarch64"
    for name, stop in _AUTOMOUNTERS.items():
        if name in host.processes():
            yield f"{name} runs, and would mount the Jetson's storage in the middle of the flash; {stop}"


def _release(board: Board, release: Release, l4t: Path) -> Iterator[str]:
    if not board.suits(release):
        wanted = ", ".join(f"{first} or newer of R{branch}" for branch, first in board.oldest.items())
        yield f"{release} does not suit {board.name}: take {wanted}"
    elif not (l4t / f"{board.name}.conf").exists():
        yield f"{l4t / f'{board.name}.conf'} is missing; unpack the driver package of {release} again"
    elif tool_of(l4t) is None:
        yield f"{l4t} has no l4t_initrd_flash.sh; unpack the driver package of {release} again"
    if not (l4t / CREATE_USER).is_file():
        yield f"{l4t / CREATE_USER} is missing; unpack the driver package of {release} again"


def _root(host: Host, l4t: Path, release: Release) -> Iterator[str]:
    kept = original_of(l4t)
    root = kept if kept.is_dir() else l4t / ROOT
    if not ((root / "etc/os-release").exists() and (root / "usr/bin/dpkg").exists()):
        yield (
            f"{root} holds no root file system; sudo tar -xpf "
            f"Tegra_Linux_Sample-Root-Filesystem_{release}_aarch64.tbz2 -C {l4t / ROOT}"
        )
        return
    found = root_release(root)
    if found is None:
        yield f"NVIDIA's packages are not in {root}; cd {l4t} && sudo ./apply_binaries.sh"
    elif found != release:
        yield f"{root} is of {found} and the tools are of {release}; unpack both of one release into an empty folder"
    needed, free = _COPIES * _bytes_in(root), host.free_bytes(l4t)
    if free < needed:
        yield (
            f"{free / 1e9:.1f} GB are free at {l4t}, and {needed / 1e9:.1f} GB are needed (about {_COPIES} times the "
            "root file system); make room, or move the folder"
        )


def _device(board: Board, devices: list[UsbDevice]) -> Iterator[str]:
    if not devices:
        yield f"no Jetson in recovery mode is plugged in (USB {NVIDIA:04x}); {_RECOVERY}"
    elif len(devices) > 1:
        names = ", ".join(f"{NVIDIA:04x}:{d.product:04x} at {d.port}" for d in devices)
        yield f"{len(devices)} NVIDIA devices are plugged in ({names}); leave only the one that is to be flashed"
    elif (product := devices[0].product) not in board.modules:
        state = NOT_RECOVERY.get(product)
        module = module_of(product)
        if state:
            yield f"{NVIDIA:04x}:{product:04x} is {state}; {_RECOVERY}"
        elif module:
            yield f"the Jetson plugged in is {module} ({NVIDIA:04x}:{product:04x}), no {board.name}; correct BOARD"
        else:
            yield f"{NVIDIA:04x}:{product:04x} is no Jetson in recovery mode that is known here; {_RECOVERY}"


def _bytes_in(folder: Path) -> int:
    """As the disk holds them; links to one file count once."""
    seen, total, waiting = set(), 0, [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            status = path.lstat()
            if path.is_dir() and not path.is_symlink():
                waiting.append(path)
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_blocks * 512
    return total
