"""Power, heat and clocks: an engine is compiled for one power mode, and clocks that go up and down cost time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jetvla.runtime.nvpmodel import mode_at_boot, mode_until_reboot
from jetvla.runtime.telemetry.power.readiness import power_readiness
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.system import System

_CPUS = "/sys/devices/system/cpu"


def power(system: System) -> Iterator[Finding]:
    """Sensors anywhere; mode and clocks on a Jetson, for elsewhere there is nothing to choose."""
    found = power_readiness(system.path("/"))
    yield Finding("power and heat", found.ready, found.detail, found.remedy, needed=False)
    if not system.is_jetson:
        return
    yield _mode(system)
    yield _clocks(system)


def _mode(system: System) -> Finding:
    if until_reboot := mode_until_reboot(system.root):
        next_mode = int(mode_at_boot(system.root) or until_reboot)
        detail = f"mode {int(until_reboot)} until the reboot that mode {next_mode} needs"
        return Finding("power mode", False, detail, "sudo reboot", needed=False)
    answer = system.ask(("nvpmodel", "-q")) or ""
    found = re.search(r"NV Power Mode: *(\S+)\s+(\d+)", answer)
    detail = f"{found[1]} (mode {found[2]})" if found else "nvpmodel does not tell"
    return Finding(
        "power mode", found is not None, detail, "sudo nvpmodel -q must answer; see nvpmodel(8)", needed=False
    )


def _clocks(system: System) -> Finding:
    folders = [f"{_CPUS}/{path.parent.name}/cpufreq" for path in system.path(_CPUS).glob("cpu[0-9]*/cpufreq")]
    limits = [[system.text(f"{folder}/scaling_{end}_freq") for end in ("min", "max")] for folder in folders]
    fixed = bool(limits) and all(low == high for low, high in limits)
    return Finding(
        "clocks",
        fixed,
        "fixed at their highest" if fixed else "go up and down with the load",
        "sudo jetson_clocks, or sudo systemctl start jetvla-clocks.service",
        needed=False,
    )
