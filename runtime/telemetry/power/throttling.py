"""What holds a machine back: the kernel's cooling devices, and the counters of the hardware."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.telemetry.attribute import number, numbered, text

# Types of cooling devices whose state above 0 lowers a clock. A fan (pwm-fan, Fan) only cools, and Jetson's
# hot-surface-alert, at 70 °C, only tells; its *-throttle-alert devices go with the trip at which clocks are lowered.
_ALERT = "-throttle-alert"
_CLOCKS = ("cpufreq-", "thermal-cpufreq-", "devfreq-", "thermal-devfreq-", "Processor", "intel_powerclamp")
# The hwmon device of Orin and Thor that counts under-voltage (oc1), average (oc2) and peak over-current (oc3).
_OVER_CURRENT = "soctherm_oc"


@dataclass(frozen=True, slots=True)
class Counter:
    """Events since the machine was started."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Throttling:
    """What holds the machine back.

    Attributes:
        active: cooling devices that lower a clock now.
        counters: of throttling by the hardware, which is over before software can look.
    """

    active: tuple[str, ...] = ()
    counters: tuple[Counter, ...] = ()

    def since(self, before: Throttling) -> tuple[str, ...]:
        """Why a measurement between ``before`` and this was held back, for people; empty if nothing is known of it."""
        counted = {c.name: c.count for c in before.counters}
        rises = ((c.name, c.count - counted.get(c.name, 0)) for c in self.counters)
        events = tuple(f"{name} rose by {rise}" for name, rise in rises if rise > 0)
        return (*dict.fromkeys((*before.active, *self.active)), *events)


def read_throttling(root: Path = Path("/")) -> Throttling | None:
    """What the machine tells; None if it tells nothing, which is not the same as "nothing throttles"."""
    devices = throttling_devices(root)
    counters = (*_over_current(root), *_core_counts(root))
    if not devices and not counters:
        return None
    active = sorted({text(d / "type") or "" for d in devices if (number(d / "cur_state") or 0) > 0})
    return Throttling(tuple(active), counters)


def throttling_devices(root: Path) -> tuple[Path, ...]:
    """Cooling devices of the kernel that lower a clock."""
    devices = numbered(root / "sys/class/thermal", "cooling_device")
    return tuple(device for device in devices if lowers_clocks(text(device / "type") or ""))


def lowers_clocks(kind: str) -> bool:
    """Whether a cooling device of this type lowers a clock."""
    return kind.endswith(_ALERT) or kind.startswith(_CLOCKS)


def _over_current(root: Path) -> tuple[Counter, ...]:
    devices = [d for d in numbered(root / "sys/class/hwmon", "hwmon") if text(d / "name") == _OVER_CURRENT]
    files = [file for device in devices for file in sorted(device.glob("oc*_event_cnt"))]
    return _counters([(f"{_OVER_CURRENT}/{file.name}", number(file)) for file in files])


def _core_counts(root: Path) -> tuple[Counter, ...]:
    """An Intel processor's own count of having been too hot, all cores together."""
    files = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    counts = [count for count in map(number, files) if count is not None]
    return _counters([("core_throttle_count", sum(counts) if counts else None)])


def _counters(found: list[tuple[str, float | None]]) -> tuple[Counter, ...]:
    return tuple(Counter(name, int(count)) for name, count in found if count is not None)
