"""The GPU's clock as devfreq tells it: ``17000000.gpu`` on Orin, ``gpu-gpc-0`` on Thor."""

from __future__ import annotations

from pathlib import Path

from jetvla.runtime.telemetry.attribute import number
from jetvla.runtime.telemetry.power.reading import Activity

_HZ_PER_MHZ = 1e6
# Thor's video engines have a device of their own.
_VIDEO = "nvd"


def find_gpu_clock(root: Path = Path("/")) -> Path | None:
    """Its devfreq device."""
    devices = sorted((root / "sys/class/devfreq").glob("*gpu*"))
    return next((device for device in devices if _VIDEO not in device.name), None)


def read_mhz(path: Path) -> float | None:
    """A devfreq attribute in MHz."""
    hz = number(path)
    return None if hz is None else hz / _HZ_PER_MHZ


def read_gpu(root: Path = Path("/")) -> Activity | None:
    """Load, which only the driver of Orin tells, in thousandths; and clock."""
    device = find_gpu_clock(root)
    if device is None:
        return None
    load, mhz = number(device / "device/load"), read_mhz(device / "cur_freq")
    return Activity(None if load is None else load / 10, () if mhz is None else (mhz,))
