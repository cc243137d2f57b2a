"""Where the guard lives: memory that is never paged out, and a CPU of its own where the machine has set one apart."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
ISOLATED = Path("/sys/devices/system/cpu/isolated")


@dataclass(frozen=True, slots=True)
class Residence:
    """What holds now.

    Attributes:
        locked: no page that was touched leaves memory.
        cpu: the only CPU that runs this process; None where none is set apart.
        refused: what the kernel would not give, and why.
    """

    locked: bool
    cpu: int | None
    refused: str


class Host(Protocol):
    """What a process can ask for itself. Both may raise OSError."""

    def lock_memory(self) -> None: ...

    def pin(self, cpu: int) -> None: ...


def settle(host: Host, isolated: Path = ISOLATED) -> Residence:
    """Lock memory, and move to the last CPU that was isolated from the scheduler (``isolcpus=``), if there is one."""
    refused = []
    try:
        host.lock_memory()
    except OSError as error:
        refused.append(f"locked memory: {error.strerror}")
    cpu = _last(isolated)
    if cpu is not None:
        try:
            host.pin(cpu)
        except OSError as error:
            refused.append(f"CPU {cpu}: {error.strerror}")
            cpu = None
    return Residence(not any("memory" in one for one in refused), cpu, "; ".join(refused))


def _last(isolated: Path) -> int | None:
    """The last CPU of a kernel's list such as ``2,4-6``; None if the list is empty or not there."""
    text = isolated.read_text(encoding="ascii").strip() if isolated.is_file() else ""
    return int(text.replace("-", ",").rsplit(",", 1)[-1]) if text else None


class LinuxHost:
    """This process, through libc."""

    def lock_memory(self) -> None:
        # Under a limit a later allocation would fail, and that would end the guard.
        if os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
            raise OSError(errno.EPERM, "RLIMIT_MEMLOCK is not unlimited")
        # Only pages that are touched: all of the libraries would be a hundred megabytes.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def pin(self, cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
