"""What the adapters ask of their libraries, on stand-ins that write it down. tests/gpu asks the real ones."""

from __future__ import annotations

import atexit
import ctypes
import gc
import sys
from collections.abc import Callable
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jetvla.runtime import memory
from jetvla.runtime.errors import EngineError
from jetvla.runtime.memory import DeviceMemory, Gpu, open_memory


class Result(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


class FakeCuda(ModuleType):
    """``cuda.bindings.driver``: handles are numbers, host memory is real."""

    CUresult = Result
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUevent_flags = SimpleNamespace(CU_EVENT_DEFAULT=0)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL="thread local")

    def __init__(self) -> None:
        super().__init__("cuda.bindings.driver")
        self.calls: list[str] = []
        self.fails: set[str] = set()
        self._handles = iter(range(1000, 2000))
        self._host: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(" ".join([name, *(a for a in arguments if isinstance(a, str))]))
            if name in self.fails:
                return (Result.CUDA_ERROR_ILLEGAL_ADDRESS, *([None] if name.endswith("Capture") else []))
            return (Result.CUDA_SUCCESS, *self._results(name, arguments))

        call.__name__ = name
        return call

    def _results(self, name: str, arguments: tuple[Any, ...]) -> list[Any]:
        if name == "cuMemHostAlloc":
            block = (ctypes.c_uint8 * arguments[0])()
            self._host[ctypes.addressof(block)] = block
            return [ctypes.addressof(block)]
        if name == "cuGetErrorString":
            return [b"an illegal memory access was encountered"]
        if name == "cuEventElapsedTime":
            return [1.25]
        gives = ("Get", "Retain", "Create", "Alloc", "EndCapture", "Instantiate")
        return [next(self._handles)] if any(part in name for part in gives) else []


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    bindings = SimpleNamespace(driver=fake)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=bindings, __path__=[]))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setattr(memory, "find_gpu", lambda: Gpu("Orin", "8.7", "12.6"))
    return fake


@pytest.fixture
def opened(cuda: FakeCuda) -> DeviceMemory:
    device = open_memory("cuda-bindings")
    cuda.calls.clear()
    return device


def test_the_primary_context_is_made_current(cuda: FakeCuda) -> None:
    assert open_memory("cuda-bindings").stream >= 1000
    assert cuda.calls == ["cuInit", "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuCtxSetCurrent", "cuStreamCreate"]


def test_a_buffer_is_page_locked_and_given_back(cuda: FakeCuda, opened: DeviceMemory) -> None:
    buffer = opened.allocate(16)
    buffer.host[:] = np.arange(16)
    assert (buffer.host.dtype, buffer.host.shape) == (np.uint8, (16,))
    buffer.upload()
    buffer.download()
    del buffer
    gc.collect()
    assert cuda.calls[:4] == ["cuMemAlloc", "cuMemHostAlloc", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync"]
    assert sorted(cuda.calls[4:]) == ["cuMemFree", "cuMemFreeHost"]


def test_capture_is_local_to_the_thread_and_its_graph_is_launched(cuda: FakeCuda, opened: DeviceMemory) -> None:
    replay = opened.capture(lambda: cuda.calls.append("work"))
    assert replay is not None
    replay()
    assert cuda.calls == [
        "cuStreamBeginCapture thread local",
        "work",
        "cuStreamEndCapture",
        "cuGraphInstantiate",
        "cuGraphDestroy",
        "cuGraphLaunch",
    ]


def test_a_capture_ends_also_when_the_work_fails(cuda: FakeCuda, opened: DeviceMemory) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened.capture(fail)
    assert cuda.calls[-1] == "cuStreamEndCapture"


@pytest.mark.parametrize("call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"])
def test_a_capture_that_the_driver_refuses_is_an_error(cuda: FakeCuda, opened: DeviceMemory, call: str) -> None:
    cuda.fails = {call}
    with pytest.raises(EngineError, match=rf"{call} failed: an illegal memory access was encountered \(700\)"):
        opened.capture(lambda: None)


def test_a_failed_kernel_is_an_error_where_it_is_waited_for(cuda: FakeCuda, opened: DeviceMemory) -> None:
    cuda.fails = {"cuStreamSynchronize"}
    with pytest.raises(EngineError, match="cuStreamSynchronize failed: an illegal memory access"):
        opened.synchronize()


def test_events_tell_milliseconds(opened: DeviceMemory) -> None:
    began, ended = opened.event(), opened.event()
    began.record()
    ended.record()
    assert ended.ms_since(began) == 1.25


def test_auto_takes_the_library_that_captures(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "find_spec", lambda name: object())
    assert open_memory().name == "cuda-bindings"


class FakePycuda(ModuleType):
    """``pycuda.driver``."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.calls: list[str] = []
        self.fails = ""

    def note(self, call: str) -> None:
        self.calls.append(call)
        if call == self.fails:
            raise self.Error("illegal address")

    def init(self) -> None:
        self.note("init")

    def Device(self, number: int) -> Any:  # noqa: N802
        context = SimpleNamespace(push=lambda: self.note("push"), pop=lambda: self.note("pop"))
        return SimpleNamespace(retain_primary_context=lambda: context)

    def Stream(self) -> Any:  # noqa: N802
        return SimpleNamespace(handle=42, synchronize=lambda: self.note("synchronize"))

    def Event(self) -> Any:  # noqa: N802
        return SimpleNamespace(record=lambda stream: self.note("event"), time_since=lambda other: 2.5)

    def mem_alloc(self, nbytes: int) -> int:
        self.note("mem_alloc")
        return 4096

    def pagelocked_empty(self, shape: int, dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def memcpy_htod_async(self, target: int, source: Any, stream: Any) -> None:
        self.note(f"up to {target}")

    def memcpy_dtoh_async(self, target: Any, source: int, stream: Any) -> None:
        self.note(f"down from {source}")


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch) -> FakePycuda:
    from jetvla.runtime.memory import pycuda as adapter

    fake = FakePycuda()
    monkeypatch.setitem(sys.modules, "pycuda", SimpleNamespace(driver=fake, __path__=[]))
    monkeypatch.setitem(sys.modules, "pycuda.driver", fake)
    monkeypatch.setattr(memory, "find_gpu", lambda: Gpu("Orin", "8.7", "12.6"))
    monkeypatch.setattr(atexit, "register", lambda function: fake.calls.append("at exit"))
    adapter._enter_context.cache_clear()
    return fake


def test_pycuda_takes_the_primary_context_once_and_leaves_it_at_exit(pycuda: FakePycuda) -> None:
    assert open_memory("pycuda").stream == 42
    open_memory("pycuda")
    assert pycuda.calls == ["init", "push", "at exit"]


def test_pycuda_copies_and_does_not_capture(pycuda: FakePycuda) -> None:
    device = open_memory("pycuda")
    buffer = device.allocate(8)
    buffer.upload()
    buffer.download()
    device.synchronize()
    assert (buffer.address, buffer.host.nbytes) == (4096, 8)
    assert pycuda.calls[-4:] == ["mem_alloc", "up to 4096", "down from 4096", "synchronize"]
    assert device.capture(lambda: None) is None
    assert device.event().ms_since(device.event()) == 2.5


@pytest.mark.parametrize("call", ["mem_alloc", "up to 4096", "synchronize", "event"])
def test_pycuda_s_failures_are_errors_of_the_engine(pycuda: FakePycuda, call: str) -> None:
    device = open_memory("pycuda")
    pycuda.fails = call

    def step() -> None:
        buffer, event = device.allocate(8), device.event()
        event.record()
        buffer.upload()
        device.synchronize()

    with pytest.raises(EngineError, match="failed: illegal address"):
        step()
