"""Power, heat and clocks of the machine: one table of sources, of which only the chosen one is imported."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from jetvla.runtime.clock import Clock, MonotonicClock
from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.power.energy import Energy, EnergyMeter
from jetvla.runtime.telemetry.power.none import NoSource
from jetvla.runtime.telemetry.power.reading import INTERVAL_S, PowerSource, Reading
from jetvla.runtime.telemetry.power.sampler import Sampler

__all__ = ["SOURCES", "Energy", "EnergyMeter", "PowerSource", "Reading", "Sampler", "open_power_source"]

# Each module has ``open_source(interval_s, clock, root)``. ``auto`` takes the first that works.
SOURCES = {
    "tegrastats": "jetvla.runtime.telemetry.power.tegrastats",
    "sysfs": "jetvla.runtime.telemetry.power.sysfs",
    "none": "jetvla.runtime.telemetry.power.none",
}


def open_power_source(
    name: str = "auto", interval_s: float = INTERVAL_S, clock: Clock | None = None, root: Path = Path("/")
) -> PowerSource:
    """Open the source ``name``; ``auto`` takes tegrastats, else sysfs, else one that says why there is neither.

    Args:
        interval_s: between two readings of a source that measures by itself.

    Raises:
        TelemetryError: if there is no source of that name, or it does not work on this machine.
    """
    clock = clock or MonotonicClock()
    if name == "auto":
        return _first(interval_s, clock, root)
    if name not in SOURCES:
        raise TelemetryError(f"there is no source of power readings {name!r}; choose from auto, {', '.join(SOURCES)}")
    return _open(name, interval_s, clock, root)


def _first(interval_s: float, clock: Clock, root: Path) -> PowerSource:
    reasons = []
    for name in ("tegrastats", "sysfs"):
        try:
            return _open(name, interval_s, clock, root)
        except TelemetryError as error:
            reasons.append(str(error))
    return NoSource("; ".join(reasons), clock)


def _open(name: str, interval_s: float, clock: Clock, root: Path) -> PowerSource:
    source: PowerSource = import_module(SOURCES[name]).open_source(interval_s, clock, root)
    return source
