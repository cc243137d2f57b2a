"""Time that the host of a virtual machine took from it: what a guard on a busy host cannot help."""

from __future__ import annotations

import os
from pathlib import Path

STAT = Path("/proc/stat")
# Of the line ``cpu``, after its name: user nice system idle iowait irq softirq steal (proc(5)).
_STEAL = 7


def stolen_s(stat: Path = STAT) -> float:
    """Seconds since boot, summed over all processors; 0 on a machine of its own, or where the kernel does not tell."""
    try:
        line = stat.read_text(encoding="ascii").partition("\n")[0].split()
    except OSError:
        return 0.0
    columns = line[1:]
    return int(columns[_STEAL]) / os.sysconf("SC_CLK_TCK") if len(columns) > _STEAL else 0.0
