"""Whether figures of energy and heat can be had on this machine, in one line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.telemetry.power.reading import Reading
from jetvla.runtime.telemetry.power.sysfs import Sysfs
from jetvla.runtime.telemetry.power.tegrastats import PROGRAM
from jetvla.runtime.telemetry.power.throttling import Throttling

_REMEDY = "measure on a Jetson, or as root on x86 hardware (RAPL)"


@dataclass(frozen=True, slots=True)
class Readiness:
    """``ready`` if power is measured and nothing holds the machine back."""

    ready: bool
    detail: str
    remedy: str


def power_readiness(root: Path = Path("/")) -> Readiness:
    """Look once; starts nothing."""
    source = Sysfs(MonotonicClock(), root)
    reading = source.read()
    tegrastats = os.access(root / PROGRAM, os.X_OK)
    held = reading.throttling.active if reading.throttling else ()
    remedy = "cool the machine, and measure again" if held else _REMEDY
    detail = "; ".join([_power(reading, tegrastats), _heat(reading), _throttling(reading.throttling)])
    return Readiness((source.measures_power or tegrastats) and not held, detail, remedy)


def _power(reading: Reading, tegrastats: bool) -> str:
    if (total := reading.total) is not None:
        return f"{total.name} {total.mw / 1000:.1f} W"
    if reading.rails:
        return f"{len(reading.rails)} power rails, no total"
    return "power by tegrastats" if tegrastats else reading.note


def _heat(reading: Reading) -> str:
    hottest = max(reading.temperatures, key=lambda t: t.celsius, default=None)
    if hottest is None:
        return "no thermal zone"
    limit = f", throttles at {hottest.throttles_at:.0f}" if hottest.throttles_at is not None else ""
    return f"hottest {hottest.zone} {hottest.celsius:.0f} °C{limit}"


def _throttling(throttling: Throttling | None) -> str:
    if throttling is None:
        return "throttling is not told"
    if throttling.active:
        return f"held back by {', '.join(throttling.active)}"
    counted = [f"{c.name} {c.count}" for c in throttling.counters if c.count]
    return f"nothing throttles now{', since the start ' if counted else ''}{', '.join(counted)}"
