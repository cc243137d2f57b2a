"""Device memory by ``pycuda``, which has no API for CUDA graphs."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.memory.base import Buffer, DeviceMemory, Event

if TYPE_CHECKING:
    import pycuda.driver as cuda


def _library() -> Any:
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise MissingDependency(
            "pycuda", "device memory by pycuda", "pip install pycuda, or cuda-bindings instead"
        ) from error
    return cuda


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except _library().Error as error:
        raise EngineError(f"{what} failed: {error}") from error


@cache
def _enter_context() -> None:
    # Not pycuda.autoinit: it makes a context of its own, which TensorRT's runtime calls would not share.
    cuda = _library()
    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    # pycuda aborts the process if it ends with a context on its stack.
    atexit.register(context.pop)


class _Buffer:
    def __init__(self, nbytes: int, stream: cuda.Stream) -> None:
        cuda = _library()
        self._stream = stream
        with _failures(f"allocating {nbytes} bytes"):
            self._device = cuda.mem_alloc(nbytes)
            self.host: NDArray[np.uint8] = cuda.pagelocked_empty(nbytes, np.uint8)
        self.address = int(self._device)

    def upload(self) -> None:
        with _failures("copying to the device"):
            _library().memcpy_htod_async(self._device, self.host, self._stream)

    def download(self) -> None:
        with _failures("copying from the device"):
            _library().memcpy_dtoh_async(self.host, self._device, self._stream)


class _Event:
    def __init__(self, stream: cuda.Stream) -> None:
        self._stream = stream
        self._event = _library().Event()

    def record(self) -> None:
        with _failures("recording an event"):
            self._event.record(self._stream)

    def ms_since(self, earlier: _Event) -> float:
        with _failures("reading an event"):
            return float(self._event.time_since(earlier._event))


class _PycudaMemory:
    name = "pycuda"

    def __init__(self) -> None:
        with _failures("opening device 0"):
            _enter_context()
            self._stream = _library().Stream()
        self.stream = int(self._stream.handle)

    def allocate(self, nbytes: int) -> Buffer:
        return _Buffer(nbytes, self._stream)

    def event(self) -> Event:
        return _Event(self._stream)

    def capture(self, work: Callable[[], None]) -> None:
        return None

    def synchronize(self) -> None:
        with _failures("a step on the device"):
            self._stream.synchronize()


def open_memory() -> DeviceMemory:
    """Device 0's primary context, pushed in this thread once for the life of the process, and a stream of its own."""
    return _PycudaMemory()
