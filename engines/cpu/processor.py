"""What the processor's INT8 instructions can do."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "AMD64", "i686")
# Instructions that add products of bytes in 32 bits.
_WIDE = {"avx512_vnni", "avx_vnni"}


def weight_levels(machine: str | None = None, cpuinfo: Path = CPUINFO) -> int:
    """Largest INT8 weight whose products with unsigned bytes are added without overflow: 127, or 64 on an x86
    processor without VNNI, which adds two of them in 16 bits (255 * 64 * 2 < 2**15)."""
    if (machine or platform.machine()) not in _X86:
        return 127
    try:
        text = cpuinfo.read_text(encoding="utf-8")
    except OSError:
        return 64
    return 127 if _WIDE & set(text.split()) else 64
