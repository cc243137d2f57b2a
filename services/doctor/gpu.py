"""JetPack, the CUDA device and TensorRT: needed on a Jetson, unless the configuration runs on the CPU."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.memory import find_gpu
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.libraries import version_of
from jetvla.services.doctor.patient import Patient
from jetvla.services.doctor.system import System

# L4T's branch and major: JetPack's name and what jetvla's TensorRT floor (10.3) says about it.
_JETPACKS = {(36, 4): "JetPack 6.1 or 6.2", (38, 2): "JetPack 7.0", (38, 4): "JetPack 7.1", (39, 2): "JetPack 7.2"}
_OLDEST = (36, 4)
_OLDEST_TENSORRT = (10, 3)


def jetpack(system: System) -> Iterator[Finding]:
    """Which one this Jetson runs."""
    if not system.is_jetson:
        remedy = "engines run with TensorRT on another NVIDIA GPU, else on ONNX Runtime's CPU kernels"
        yield Finding("jetpack", False, "this is no Jetson", remedy, needed=False)
        return
    line = system.text("/etc/nv_tegra_release").split("\n", 1)[0]
    found = re.match(r"# R(\d+) \(release\), REVISION: (\d+)\.(\d+)", line)
    release = (int(found[1]), int(found[2])) if found else (0, 0)
    name = _JETPACKS.get(release, "a JetPack that is not known here")
    yield Finding(
        "jetpack",
        release >= _OLDEST,
        f"{name}, L4T R{found[1]}.{found[2]}.{found[3]}" if found else line,
        "flash JetPack 6.1 or newer: older ones have no TensorRT 10.3",
    )


def cuda(patient: Patient) -> Iterator[Finding]:
    """Asked of the driver, before any library that crashes without one."""
    needed = _needed(patient)
    try:
        gpu = find_gpu()
    except JetvlaError as error:
        yield Finding("CUDA device", False, "none", str(error), needed)
        return
    yield Finding("CUDA device", True, f"{gpu.name}, compute capability {gpu.compute_capability}, CUDA {gpu.cuda}")


def tensorrt(patient: Patient) -> Iterator[Finding]:
    version = version_of("tensorrt", "tensorrt")
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    old = numbers is not None and (int(numbers[1]), int(numbers[2])) < _OLDEST_TENSORRT
    remedy = "flash JetPack 6.1 or newer" if old else "on a Jetson: sudo apt install python3-libnvinfer"
    detail = f"{version}, and 10.3 or newer is needed" if old else version or "not installed"
    yield Finding("tensorrt", version is not None and not old, detail, remedy, _needed(patient))


def _needed(patient: Patient) -> bool:
    backend = patient.config.policy.backend
    return backend == "tensorrt" or (backend == "auto" and patient.system.is_jetson)
