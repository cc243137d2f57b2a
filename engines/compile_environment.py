"""In what state the machine is while engines are timed: figures from another state cannot be compared."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from jetvla.runtime.nvpmodel import mode_until_reboot

_GLOBS = {
    "cpu_clock_khz": "sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq",
    "cpu_governor": "sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    "device_clock_hz": "sys/class/devfreq/*/cur_freq",
    "temperature_mc": "sys/class/thermal/thermal_zone*/temp",
    "power_mode": "var/lib/nvpmodel/status",
}


def environment(root: Path = Path("/")) -> dict[str, str]:
    """Versions, load, clocks and temperatures (millidegrees) as the kernel tells them; what it does not is left out."""
    model = re.search(r"^model name\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    found = {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": _read(root / "proc/loadavg").strip(),
    }
    for name, pattern in _GLOBS.items():
        found[name] = " ".join(sorted({_read(path).strip() for path in root.glob(pattern)}))
    if until_reboot := mode_until_reboot(root):
        found["power_mode"] = f"pmode:{until_reboot}"
    return {name: value for name, value in found.items() if value}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # a sensor that is asleep
        return ""
