"""What a measurement is stored with: figures of another machine, or of another state of it, cannot be compared."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from jetvla.runtime.engine_key import Machine
from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.power.thermal import Temperature
from jetvla.runtime.telemetry.power.throttling import Throttling


@dataclass(frozen=True, slots=True)
class Clocks:
    """How a clock is governed, MHz; of a processor the widest range of its cores, and the fastest present clock."""

    governor: str | None = None
    min_mhz: float | None = None
    max_mhz: float | None = None
    mhz: float | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """What could not be read, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Environment:
    """One machine at one time. None is what could not be read; ``missing`` has the reasons.

    Attributes:
        machine: what an engine is bound to: CUDA, driver, Jetson Linux, GPU, instruction sets, power mode's number.
        cpu_model: as the processor calls itself.
        cores: that this process may use.
        jetson: model of the board.
        jetpack: version of the package nvidia-jetpack.
        power_mode: name of the mode, as nvpmodel calls it.
        temperatures: of every zone that is awake.
        throttling: what holds the machine back, or has since it was started.
        kernel: release.
        versions: of packages that decide results or speed, as (package, version).
        load: mean number of processes that wanted to run in the last minute.
        hypervisor: whether this is a virtual machine.
    """

    machine: Machine
    cpu_model: str | None
    cores: int
    jetson: str | None
    jetpack: str | None
    power_mode: str | None
    cpu: Clocks
    gpu: Clocks
    temperatures: tuple[Temperature, ...]
    throttling: Throttling | None
    kernel: str
    python: str
    versions: tuple[tuple[str, str], ...]
    load: float | None
    hypervisor: bool | None
    missing: tuple[Missing, ...]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: object) -> Environment:
        """The inverse of :meth:`as_dict`; TelemetryError names what does not fit."""
        try:
            return _ADAPTER.validate_json(json.dumps(values), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise TelemetryError(f"this is no environment of this version: {where}: {first['msg']}") from error

    def describe(self) -> str:
        """One line for people."""
        parts = [self.jetson, self.cpu_model or self.machine.cpu, f"{self.cores} cores", self.machine.gpu]
        mode = self.power_mode or self.machine.power_mode
        parts += [f"power mode {mode}" if mode else "", f"Linux {self.kernel}", f"Python {self.python}"]
        return ", ".join(part for part in parts if part)


_ADAPTER = TypeAdapter(Environment)
