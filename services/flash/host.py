"""The machine that flashes, as far as the checks look at it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """``port`` is the kernel's name of where it is plugged in, such as ``1-4.2``."""

    vendor: int
    product: int
    port: str


class Host(Protocol):
    """What the checks ask of the machine."""

    def is_root(self) -> bool: ...

    def machine(self) -> str:
        """Such as ``x86_64``."""

    def is_virtual(self) -> bool: ...

    def usb(self) -> tuple[UsbDevice, ...]: ...

    def processes(self) -> frozenset[str]:
        """Names of the running programs, at most 15 characters each."""

    def runs_aarch64(self) -> bool:
        """Whether the kernel hands programs of an ARM root file system to qemu."""

    def has(self, program: str) -> bool: ...

    def free_bytes(self, folder: Path) -> int: ...


class LinuxHost:
    """This machine. ``root`` is where its ``/proc`` and ``/sys`` are."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def is_root(self) -> bool:
        return os.geteuid() == 0

    def machine(self) -> str:
        return platform.machine()

    def is_virtual(self) -> bool:
        # The processor itself says so to every guest.
        flags = re.search(r"^flags\s*:(.*)$", _text(self._root / "proc/cpuinfo"), re.MULTILINE)
        return flags is not None and "hypervisor" in flags[1].split()

    def usb(self) -> tuple[UsbDevice, ...]:
        return tuple(self._usb())

    def _usb(self) -> Iterator[UsbDevice]:
        for folder in sorted((self._root / "sys/bus/usb/devices").glob("*")):
            ids = [_text(folder / name).strip() for name in ("idVendor", "idProduct")]
            if all(ids):
                yield UsbDevice(int(ids[0], 16), int(ids[1], 16), folder.name)

    def processes(self) -> frozenset[str]:
        return frozenset(_text(path).strip() for path in (self._root / "proc").glob("[0-9]*/comm"))

    def runs_aarch64(self) -> bool:
        entry = _text(self._root / "proc/sys/fs/binfmt_misc/qemu-aarch64").split()
        return entry[:1] == ["enabled"]

    def has(self, program: str) -> bool:
        return shutil.which(program) is not None

    def free_bytes(self, folder: Path) -> int:
        return shutil.disk_usage(folder).free


def _text(path: Path) -> str:
    """Empty for what is not there, or went away meanwhile."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
