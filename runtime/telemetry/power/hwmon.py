"""Power sensors of hwmon: INA3221 (every Jetson's module) and INA238 (the input of Thor's carrier board).

Names and units are those of Documentation/hwmon/ina3221.rst and ina238.rst of Linux. Any user may read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.telemetry.attribute import number, numbered, text
from jetvla.runtime.telemetry.power.rail import Rail

# Channels 4 to 7 of an INA3221 are shunt voltages and their sum, no rails.
_CHANNELS = (1, 2, 3)
_NOT_CONNECTED = "NC"
# The board's input on Thor; the kernel gives the only channel of an INA238 no label.
_INPUT = "VIN"


@dataclass(frozen=True, slots=True)
class RailSensor:
    """One rail; either ``power`` in µW, or ``voltage`` in mV and ``current`` in mA."""

    name: str
    power: Path | None = None
    voltage: Path | None = None
    current: Path | None = None

    def read(self) -> Rail | None:
        """The present power; None if the sensor does not answer."""
        if self.power is not None:
            microwatts = number(self.power)
            return None if microwatts is None else Rail(self.name, microwatts / 1000)
        mv, ma = (number(path) if path else None for path in (self.voltage, self.current))
        return None if mv is None or ma is None else Rail(self.name, mv * ma / 1000)


def find_rail_sensors(root: Path = Path("/")) -> tuple[RailSensor, ...]:
    """The rails that this machine measures."""
    sensors: list[RailSensor] = []
    for device in numbered(root / "sys/class/hwmon", "hwmon"):
        name = text(device / "name")
        if name == "ina3221":
            sensors += _channels(device)
        elif name == "ina238" and (device / "power1_input").exists():
            sensors.append(RailSensor(_INPUT, power=device / "power1_input"))
    return tuple(sensors)


def _channels(device: Path) -> list[RailSensor]:
    labels = {channel: text(device / f"in{channel}_label") for channel in _CHANNELS}
    return [
        RailSensor(label, voltage=device / f"in{channel}_input", current=device / f"curr{channel}_input")
        for channel, label in labels.items()
        if label and label != _NOT_CONNECTED
    ]
