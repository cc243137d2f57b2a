"""The kernel's own files: power of hwmon or RAPL, thermal zones, clocks, load. Needs no root but for RAPL."""

from __future__ import annotations

import re
from pathlib import Path

from jetvla.runtime.clock import Clock
from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.attribute import text
from jetvla.runtime.telemetry.power.cores import Cores
from jetvla.runtime.telemetry.power.devfreq import read_gpu
from jetvla.runtime.telemetry.power.hwmon import find_rail_sensors
from jetvla.runtime.telemetry.power.rapl import Rapl
from jetvla.runtime.telemetry.power.reading import Memory, Reading
from jetvla.runtime.telemetry.power.thermal import read_temperatures
from jetvla.runtime.telemetry.power.throttling import read_throttling

_KB_PER_MB = 1024
_MEMORY = re.compile(r"^(MemTotal|MemAvailable):\s+(\d{1,15}) kB", re.MULTILINE | re.ASCII)


class Sysfs:
    """Reads every file anew; sensors are looked for once."""

    name = "sysfs"

    def __init__(self, clock: Clock, root: Path = Path("/")) -> None:
        self._clock, self._root = clock, root
        self._sensors, self._rapl, self._cores = find_rail_sensors(root), Rapl(root), Cores(root)

    @property
    def measures_power(self) -> bool:
        """Whether there is a sensor of power that this user may read."""
        return any(sensor.read() for sensor in self._sensors) or self._rapl.readable

    def read(self) -> Reading:
        now_ns = self._clock.now_ns()
        measured = [rail for rail in (sensor.read() for sensor in self._sensors) if rail is not None]
        rails = (*measured, *self._rapl.read(now_ns))
        return Reading(
            now_ns,
            self.name,
            rails=rails,
            temperatures=read_temperatures(self._root),
            cores=self._cores.read(),
            gpu=read_gpu(self._root),
            ram=_memory(self._root),
            throttling=read_throttling(self._root),
            note="" if rails else self.why_no_power(),
        )

    def why_no_power(self) -> str:
        """Of a reading without rails, one sentence."""
        if self._sensors:
            return f"the power sensors {', '.join(sensor.name for sensor in self._sensors)} do not answer"
        if self._rapl.readable:
            return "RAPL counts energy, so that power needs a second reading"
        if self._rapl.domains:
            return "RAPL is there, but only root may read its energy_uj"
        return "this machine has no power sensor that Linux shows (INA3221, INA238 or RAPL)"

    def close(self) -> None:
        """Nothing was started."""


def open_source(interval_s: float, clock: Clock, root: Path) -> Sysfs:
    """TelemetryError if the kernel shows neither power nor temperatures; ``interval_s`` is the caller's."""
    source = Sysfs(clock, root)
    if not source.measures_power and not read_temperatures(root):
        raise TelemetryError(f"{source.why_no_power()}, and no thermal zone")
    return source


def _memory(root: Path) -> Memory | None:
    found = dict(_MEMORY.findall(text(root / "proc/meminfo") or ""))
    if len(found) < 2:
        return None
    total, available = int(found["MemTotal"]), int(found["MemAvailable"])
    return Memory((total - available) // _KB_PER_MB, total // _KB_PER_MB)
