"""One look at a machine's power, heat, clocks and load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from jetvla.runtime.telemetry.power.rail import Rail, total
from jetvla.runtime.telemetry.power.thermal import Temperature
from jetvla.runtime.telemetry.power.throttling import Throttling

# Between two readings, unless somebody asks for another.
INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class Activity:
    """Load and clocks of a core, the GPU or the memory controller.

    Attributes:
        load_percent: 0 to 100, of the present clock; None if it is not told.
        mhz: one clock, or one per cluster of the GPU; empty if none is told. A core with neither is switched off.
    """

    load_percent: float | None = None
    mhz: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory, which a Jetson's GPU shares; mebibytes."""

    used_mb: int
    total_mb: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source knows at one time; what it does not know is empty or None.

    Attributes:
        t_ns: when, on the monotonic clock.
        source: name of the source.
        rails: as the board names them.
        temperatures: of every zone that is awake.
        cores: of the processor, by number.
        emc: the memory controller.
        throttling: None if the machine does not tell.
        note: why power is missing, one sentence; empty if it is there.
        unparsed: what the source said and this version does not know.
    """

    t_ns: int
    source: str
    rails: tuple[Rail, ...] = ()
    temperatures: tuple[Temperature, ...] = ()
    cores: tuple[Activity, ...] = ()
    gpu: Activity | None = None
    emc: Activity | None = None
    ram: Memory | None = None
    throttling: Throttling | None = None
    note: str = ""
    unparsed: str = ""

    @property
    def total(self) -> Rail | None:
        """Power of the whole machine, as far as it is measured."""
        return total(self.rails)


class PowerSource(Protocol):
    """Where readings come from."""

    name: str

    @property
    def measures_power(self) -> bool:
        """Whether a reading with power may yet come."""

    def read(self) -> Reading:
        """The present reading. Never fails and never repeats an old one: then it is empty, and ``note`` says why."""

    def close(self) -> None:
        """End what was started."""
