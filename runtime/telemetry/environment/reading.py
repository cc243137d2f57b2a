"""Reads the environment. What cannot be read is said, and stops nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from jetvla.runtime.engine_key import Machine
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.memory.driver import Gpu, find_gpu
from jetvla.runtime.nvpmodel import PowerMode, power_mode
from jetvla.runtime.telemetry.attribute import text
from jetvla.runtime.telemetry.environment.jetson import jetpack_version
from jetvla.runtime.telemetry.environment.processor import cpu_clocks, cpu_model, under_hypervisor
from jetvla.runtime.telemetry.environment.record import Clocks, Environment, Missing
from jetvla.runtime.telemetry.environment.versions import installed
from jetvla.runtime.telemetry.power.devfreq import find_gpu_clock, read_mhz
from jetvla.runtime.telemetry.power.thermal import read_temperatures
from jetvla.runtime.telemetry.power.throttling import read_throttling

_WHY = {
    "cpu_model": "/proc/cpuinfo names none",
    "cpu": "the kernel does not govern the processor's clock (no cpufreq), as in most virtual machines",
    "gpu": "the kernel shows no clock of a GPU (no devfreq)",
    "jetson": "there is no /proc/device-tree/model",
    "jetpack": "the package nvidia-jetpack is not installed",
    "temperatures": "the kernel shows no thermal zone that is awake",
    "throttling": "the kernel shows no device or counter that tells it",
    "load": "there is no /proc/loadavg",
    "hypervisor": "this processor has no flag that tells it",
}
_WHY_MACHINE = {
    "cuda": "there is no /usr/local/cuda/version.json",
    "driver": "no NVIDIA driver is loaded",
    "jetpack": "there is no /etc/nv_tegra_release",
    "power_mode": "there is no /var/lib/nvpmodel/status",
}


def read_environment(root: Path = Path("/"), gpu: Callable[[], Gpu] = find_gpu) -> Environment:
    """The machine as it is now; never fails. Asks the CUDA driver, so it is nothing for the guard of a robot.

    Args:
        root: where ``/proc``, ``/sys`` and ``/etc`` are.
        gpu: finds the CUDA device.
    """
    missing: list[Missing] = []
    mode = power_mode(root)
    missing += [Missing("power_mode", mode.why)] if mode.why else []
    machine = _machine(root, gpu, mode, missing)
    versions, absent = installed()
    found = Environment(
        machine=machine,
        cpu_model=cpu_model(root),
        cores=len(os.sched_getaffinity(0)),
        jetson=text(root / "proc/device-tree/model"),
        jetpack=jetpack_version(root),
        power_mode=mode.name or None,
        cpu=cpu_clocks(root),
        gpu=_gpu_clocks(root),
        temperatures=read_temperatures(root),
        throttling=read_throttling(root),
        kernel=platform.release(),
        python=platform.python_version(),
        versions=versions,
        load=_load(root),
        hypervisor=under_hypervisor(root),
        missing=(),
    )
    values = {name: getattr(found, name) for name in _WHY}
    missing += [Missing(name, _WHY[name]) for name, value in values.items() if value in (None, (), Clocks())]
    missing += [Missing(f"machine.{name}", why) for name, why in _WHY_MACHINE.items() if not getattr(machine, name)]
    return replace(found, missing=(*missing, *absent))


def _machine(root: Path, gpu: Callable[[], Gpu], mode: PowerMode, missing: list[Missing]) -> Machine:
    here = Machine.here(root)
    machine = replace(here, power_mode=here.power_mode or mode.number)
    try:
        device = gpu()
    except JetvlaError as error:
        name = _named_gpu(root)
        what = "machine.compute_capability" if name else "machine.gpu"
        missing.append(Missing(what, str(error)))
        return replace(machine, gpu=name)
    return replace(machine, gpu=device.name, compute_capability=device.compute_capability)


def _named_gpu(root: Path) -> str:
    """As the kernel's NVIDIA driver names it, for whom CUDA does not work."""
    for device in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        for line in (text(device) or "").splitlines():
            if line.startswith("Model:"):
                return line.removeprefix("Model:").strip()
    return ""


def _gpu_clocks(root: Path) -> Clocks:
    device = find_gpu_clock(root)
    if device is None:
        return Clocks()
    least, most, now = (read_mhz(device / name) for name in ("min_freq", "max_freq", "cur_freq"))
    return Clocks(text(device / "governor"), least, most, now)


def _load(root: Path) -> float | None:
    words = (text(root / "proc/loadavg") or "").split()
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None
