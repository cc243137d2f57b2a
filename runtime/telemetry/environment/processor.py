"""The processor: what it is, how its clock is governed, whether it is a real one."""

from __future__ import annotations

import re
from pathlib import Path

from jetvla.runtime.telemetry.attribute import number, numbered, text
from jetvla.runtime.telemetry.environment.record import Clocks

_KHZ_PER_MHZ = 1000


def cpu_model(root: Path) -> str | None:
    """Its name; of an Arm core, which has none, the codes of its maker and part."""
    cpuinfo = _cpuinfo(root)
    if named := re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE):
        return named[1].strip()
    codes = (re.search(rf"^CPU {what}\s*:\s*(\S+)", cpuinfo, re.MULTILINE) for what in ("implementer", "part"))
    found = [code[1] for code in codes if code]
    return f"Arm implementer {found[0]} part {found[1]}" if len(found) == 2 else None


def cpu_clocks(root: Path) -> Clocks:
    """Of all cores: every governor there is, the widest range, the fastest clock."""
    folders = [cpu / "cpufreq" for cpu in numbered(root / "sys/devices/system/cpu", "cpu")]
    governors = sorted({governor for folder in folders if (governor := text(folder / "scaling_governor"))})
    least, most, now = (
        [khz / _KHZ_PER_MHZ for folder in folders if (khz := number(folder / name)) is not None]
        for name in ("scaling_min_freq", "scaling_max_freq", "scaling_cur_freq")
    )
    governor = ", ".join(governors) or None
    return Clocks(governor, min(least, default=None), max(most, default=None), max(now, default=None))


def under_hypervisor(root: Path) -> bool | None:
    """Whether this is a virtual machine; None where no flag tells it, as on Arm."""
    flags = re.search(r"^flags\s*:(.*)$", _cpuinfo(root), re.MULTILINE)
    return "hypervisor" in flags[1].split() if flags else None


def _cpuinfo(root: Path) -> str:
    return text(root / "proc/cpuinfo") or ""
