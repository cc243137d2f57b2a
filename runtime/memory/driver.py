"""Is there a CUDA device? Asked of the driver itself, before any library that crashes without one is touched."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jetvla.runtime.errors import EngineError, MissingDependency

LIBRARY = "libcuda.so.1"
JETSON = Path("/etc/nv_tegra_release")
# CUdevice_attribute in cuda.h.
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True)
class Gpu:
    """The first CUDA device.

    Attributes:
        name: as its driver calls it.
        compute_capability: "8.7" is an Orin, "11.0" a Thor.
        cuda: the newest CUDA version that the driver can run, such as "12.6".
    """

    name: str
    compute_capability: str
    cuda: str


@cache
def find_gpu() -> Gpu:
    """Device 0.

    Raises:
        MissingDependency: if the driver's library is not installed.
        EngineError: if the driver finds no device, or fails.
    """
    driver = _driver()
    _check(driver, "cuInit", 0)
    version, device = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    _check(driver, "cuDriverGetVersion", ctypes.byref(version))
    _check(driver, "cuDeviceGet", ctypes.byref(device), 0)
    _check(driver, "cuDeviceGetName", name, len(name), device)
    capability = ".".join(str(_attribute(driver, device, number)) for number in (_MAJOR, _MINOR))
    return Gpu(name.value.decode(), capability, f"{version.value // 1000}.{version.value % 1000 // 10}")


def _driver() -> Any:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        install = "sudo apt install nvidia-jetpack" if JETSON.is_file() else "the NVIDIA driver of your distribution"
        raise MissingDependency(f"the CUDA driver ({LIBRARY})", "an engine on a GPU", install) from error


def _check(driver: Any, function: str, *arguments: Any) -> None:
    status = getattr(driver, function)(*arguments)
    if status == 0:
        return
    text = ctypes.c_char_p()
    driver.cuGetErrorString(status, ctypes.byref(text))
    reason = text.value.decode() if text.value else "unknown error"
    raise EngineError(
        f"no CUDA device can be used: {function} answers {status} ({reason}); look at 'nvidia-smi', and at whether "
        "this user or container may open /dev/nvidia*"
    )


def _attribute(driver: Any, device: ctypes.c_int, number: int) -> int:
    value = ctypes.c_int()
    _check(driver, "cuDeviceGetAttribute", ctypes.byref(value), number, device)
    return value.value
