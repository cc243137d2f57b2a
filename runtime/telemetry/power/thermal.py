"""The kernel's thermal zones (Documentation/driver-api/thermal/sysfs-api.rst of Linux)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.telemetry.attribute import number, numbered, text
from jetvla.runtime.telemetry.power.throttling import lowers_clocks

# A Tegra sensor whose block is switched off says -256 °C.
ASLEEP_C = -100.0


@dataclass(frozen=True, slots=True)
class Temperature:
    """Temperature of one zone, °C.

    Attributes:
        throttles_at: the lowest trip at which the kernel lowers a clock because of this zone; None if it has none.
    """

    zone: str
    celsius: float
    throttles_at: float | None = None


def read_temperatures(root: Path = Path("/")) -> tuple[Temperature, ...]:
    """Of every zone that is awake."""
    zones = numbered(root / "sys/class/thermal", "thermal_zone")
    found = ((zone, number(zone / "temp")) for zone in zones)
    return tuple(
        Temperature(text(zone / "type") or zone.name, milli / 1000, _throttles_at(zone))
        for zone, milli in found
        if milli is not None and milli / 1000 > ASLEEP_C
    )


def _throttles_at(zone: Path) -> float | None:
    """A trip that only starts a fan or a warning is none: what is bound to it decides."""
    bound = [device for device in numbered(zone, "cdev") if lowers_clocks(text(device / "type") or "")]
    trips = [text(zone / f"{device.name}_trip_point") for device in bound]
    limits = [number(zone / f"trip_point_{trip}_temp") for trip in trips]
    return min((milli / 1000 for milli in limits if milli is not None), default=None)
