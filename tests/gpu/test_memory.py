"""Device memory, capture and replay on a real GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from kernels import AddOne

from jetvla.runtime.errors import EngineError
from jetvla.runtime.memory import Buffer, DeviceMemory, Gpu, open_memory
from jetvla.runtime.memory.replay import Replay

N = 100_000


def floats(buffer: Buffer) -> np.ndarray:
    return buffer.host.view(np.float32)


def test_the_gpu_is_described(gpu: Gpu) -> None:
    assert gpu.name
    assert float(gpu.compute_capability) >= 5
    assert float(gpu.cuda) >= 11


def test_bytes_come_back_from_the_device(memory: DeviceMemory) -> None:
    first, second = memory.allocate(N), memory.allocate(N)
    assert first.address != second.address
    for value, buffer in ((1, first), (2, second)):
        buffer.host.fill(value)
        buffer.upload()
    memory.synchronize()
    for buffer in (first, second):
        buffer.host.fill(0)
        buffer.download()
    memory.synchronize()
    assert (first.host == 1).all()
    assert (second.host == 2).all()


def test_a_mebibyte_takes_time_between_two_events(memory: DeviceMemory) -> None:
    buffer, began, ended = memory.allocate(64 << 20), memory.event(), memory.event()
    began.record()
    buffer.upload()
    ended.record()
    memory.synchronize()
    assert 0 < ended.ms_since(began) < 10_000


def test_memory_is_given_back(gpu: Gpu, capturing: DeviceMemory) -> None:
    from cuda.bindings import driver

    def free() -> int:
        status, available, _ = driver.cuMemGetInfo()
        assert int(status) == 0
        return int(available)

    before = free()
    kept = [capturing.allocate(64 << 20) for _ in range(4)]
    assert before - free() >= 4 * (64 << 20)
    del kept
    assert before - free() < 64 << 20


def test_both_libraries_share_one_context(capturing: DeviceMemory) -> None:
    """So that TensorRT's own calls see what either allocated."""
    pytest.importorskip("pycuda.driver", reason="pycuda is not installed")
    first = open_memory("pycuda")
    from cuda.bindings import driver

    buffer = first.allocate(16)
    buffer.host.fill(5)
    buffer.upload()
    first.synchronize()
    copy = capturing.allocate(16)
    driver.cuMemcpyDtoHAsync(copy.host.ctypes.data, buffer.address, 16, driver.CUstream(capturing.stream))
    capturing.synchronize()
    assert (copy.host == 5).all()


def test_pycuda_cannot_capture(gpu: Gpu) -> None:
    pytest.importorskip("pycuda.driver", reason="pycuda is not installed")
    assert open_memory("pycuda").capture(lambda: None) is None


def test_a_captured_kernel_runs_at_each_replay_and_not_before(capturing: DeviceMemory, add_one: AddOne) -> None:
    buffer = capturing.allocate(4 * N)
    floats(buffer)[:] = np.arange(N)

    def step() -> None:
        buffer.upload()
        add_one(buffer.address, N, capturing.stream)
        buffer.download()

    replay = capturing.capture(step)
    assert replay is not None
    capturing.synchronize()
    assert floats(buffer)[3] == 3
    for turn in range(1, 4):
        replay()
        capturing.synchronize()
        np.testing.assert_array_equal(floats(buffer), np.arange(N) + turn)


def test_new_input_reaches_a_replayed_graph(capturing: DeviceMemory, add_one: AddOne) -> None:
    source = capturing.allocate(4 * N)

    def step() -> None:
        source.upload()
        add_one(source.address, N, capturing.stream)
        source.download()

    queue = Replay(capturing, step)
    for value in (1.0, 7.0, -2.0):
        floats(source).fill(value)
        queue("bound")
        capturing.synchronize()
        assert (floats(source) == value + 1).all()
    assert queue.is_graph


def test_another_thread_may_allocate_during_a_capture(capturing: DeviceMemory, add_one: AddOne) -> None:
    """The global capture mode would refuse that."""
    buffer, failures = capturing.allocate(4 * N), []

    def allocate() -> None:
        try:
            open_memory("cuda-bindings").allocate(1 << 20)
        except EngineError as error:
            failures.append(error)

    def step() -> None:
        add_one(buffer.address, N, capturing.stream)
        other = threading.Thread(target=allocate)
        other.start()
        other.join()

    assert capturing.capture(step) is not None
    assert failures == []


def test_a_capture_that_fails_leaves_the_queue_usable(capturing: DeviceMemory, add_one: AddOne) -> None:
    buffer = capturing.allocate(4 * N)

    def fail() -> None:
        add_one(buffer.address, N, capturing.stream)
        raise EngineError("TensorRT refuses")

    with pytest.raises(EngineError, match="TensorRT refuses"):
        capturing.capture(fail)
    floats(buffer).fill(1)
    buffer.upload()
    add_one(buffer.address, N, capturing.stream)
    buffer.download()
    capturing.synchronize()
    assert (floats(buffer) == 2).all()


def test_waiting_inside_a_capture_is_an_error(capturing: DeviceMemory) -> None:
    with pytest.raises(EngineError, match="cuStreamSynchronize failed"):
        capturing.capture(capturing.synchronize)
    capturing.synchronize()


# A GPU that has failed once is lost to its process.
FAULT = """
from jetvla.runtime.errors import EngineError
from jetvla.runtime.memory import find_gpu, open_memory
from jetvla.runtime.memory.cuda_bindings import _call
from kernels import AddOne
memory = open_memory("cuda-bindings")
add_one = AddOne(find_gpu().compute_capability, _call)
buffer = memory.allocate(16)
add_one(8, 1000, memory.stream)
buffer.download()
try:
    memory.synchronize()
except EngineError as error:
    print("raised:", error)
"""


def test_a_kernel_that_faults_raises(add_one: AddOne) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    ran = subprocess.run([sys.executable, "-c", FAULT], check=False, capture_output=True, text=True, env=environment)
    assert "raised: cuStreamSynchronize failed" in ran.stdout, ran.stderr
