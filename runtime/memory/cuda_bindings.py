"""Device memory by ``cuda-bindings``, NVIDIA's own Python bindings of the CUDA driver."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.memory.base import Buffer, DeviceMemory, Event

if TYPE_CHECKING:
    from cuda.bindings import driver


def _library() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise MissingDependency(
            "cuda-bindings",
            "device memory by cuda-bindings",
            "pip install cuda-bindings (12.x for CUDA 12, 13.x for CUDA 13)",
        ) from error
    return driver


def _call(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    """The results of ``function`` behind its status: none, one or a tuple."""
    driver = _library()
    status, *results = function(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        _, text = driver.cuGetErrorString(status)
        reason = text.decode() if text else "unknown error"
        raise EngineError(f"{function.__name__} failed: {reason} ({int(status)})")
    return results[0] if len(results) == 1 else tuple(results)


class _Buffer:
    def __init__(self, nbytes: int, stream: driver.CUstream) -> None:
        driver = _library()
        self._stream, self._nbytes = stream, nbytes
        self._device = _call(driver.cuMemAlloc, nbytes)
        _free_with(self, driver.cuMemFree, self._device)
        self._pointer = int(_call(driver.cuMemHostAlloc, nbytes, 0))
        _free_with(self, driver.cuMemFreeHost, self._pointer)
        self.address = int(self._device)
        memory = (ctypes.c_uint8 * nbytes).from_address(self._pointer)
        self.host: NDArray[np.uint8] = np.ctypeslib.as_array(memory)

    def upload(self) -> None:
        _call(_library().cuMemcpyHtoDAsync, self._device, self._pointer, self._nbytes, self._stream)

    def download(self) -> None:
        _call(_library().cuMemcpyDtoHAsync, self._pointer, self._device, self._nbytes, self._stream)


class _Event:
    def __init__(self, stream: driver.CUstream) -> None:
        driver = _library()
        self._stream = stream
        self._event = _call(driver.cuEventCreate, int(driver.CUevent_flags.CU_EVENT_DEFAULT))
        _free_with(self, driver.cuEventDestroy, self._event)

    def record(self) -> None:
        _call(_library().cuEventRecord, self._event, self._stream)

    def ms_since(self, earlier: _Event) -> float:
        return float(_call(_library().cuEventElapsedTime, earlier._event, self._event))


class _Graph:
    def __init__(self, graph: driver.CUgraph, stream: driver.CUstream) -> None:
        driver = _library()
        self._stream = stream
        try:
            self._executable = _call(driver.cuGraphInstantiate, graph, 0)
        finally:
            _call(driver.cuGraphDestroy, graph)
        _free_with(self, driver.cuGraphExecDestroy, self._executable)

    def __call__(self) -> None:
        _call(_library().cuGraphLaunch, self._executable, self._stream)


class _CudaBindingsMemory:
    name = "cuda-bindings"

    def __init__(self) -> None:
        driver = _library()
        _call(driver.cuInit, 0)
        # The primary context is the one that TensorRT's own runtime calls use.
        _call(driver.cuCtxSetCurrent, _call(driver.cuDevicePrimaryCtxRetain, _call(driver.cuDeviceGet, 0)))
        self._stream = _call(driver.cuStreamCreate, int(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
        self.stream = int(self._stream)

    def allocate(self, nbytes: int) -> Buffer:
        return _Buffer(nbytes, self._stream)

    def event(self) -> Event:
        return _Event(self._stream)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        driver = _library()
        # The global mode would make allocations of any other thread fail meanwhile.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call(driver.cuStreamBeginCapture, self._stream, mode)
        try:
            work()
        except BaseException:
            # The queue must leave its capture, whatever that says of what was captured so far.
            driver.cuStreamEndCapture(self._stream)
            raise
        return _Graph(_call(driver.cuStreamEndCapture, self._stream), self._stream)

    def synchronize(self) -> None:
        _call(_library().cuStreamSynchronize, self._stream)


def _free_with(owner: object, free: Callable[..., Any], handle: Any) -> None:
    # Not at exit: the driver may be gone by then, and frees everything itself.
    weakref.finalize(owner, free, handle).atexit = False


def open_memory() -> DeviceMemory:
    """Device 0's primary context, made current in this thread, and a stream of its own."""
    return _CudaBindingsMemory()
