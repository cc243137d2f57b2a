"""Memory of a CUDA device, by whichever library is there; only the chosen one is imported."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.memory.base import Buffer, DeviceMemory, Event
from jetvla.runtime.memory.driver import Gpu, find_gpu

__all__ = ["MEMORIES", "Buffer", "DeviceMemory", "Event", "Gpu", "find_gpu", "open_memory"]

# By name: the module, which has ``open_memory()``, and the library that it needs. ``auto`` takes the first whose
# library is installed: only cuda-bindings can capture CUDA graphs.
MEMORIES = {
    "cuda-bindings": ("jetvla.runtime.memory.cuda_bindings", "cuda.bindings"),
    "pycuda": ("jetvla.runtime.memory.pycuda", "pycuda"),
}


def open_memory(name: str = "auto") -> DeviceMemory:
    """Open device 0 for the calling thread, which is the only one that may use the result.

    Raises:
        MissingDependency: if the NVIDIA driver or the library is not installed.
        EngineError: if there is no adapter of that name, or the driver fails.
    """
    find_gpu()
    chosen = _installed() if name == "auto" else name
    if chosen not in MEMORIES:
        raise EngineError(f"there is no device memory {name!r}; choose from auto, {', '.join(MEMORIES)}")
    memory: DeviceMemory = import_module(MEMORIES[chosen][0]).open_memory()
    return memory


def _installed() -> str:
    for name, (_, library) in MEMORIES.items():
        if _is_installed(library):
            return name
    raise MissingDependency(
        "cuda-bindings or pycuda", "memory on the GPU", "pip install cuda-bindings (12.x for CUDA 12, 13.x for CUDA 13)"
    )


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # its parent package is not there
        return False
