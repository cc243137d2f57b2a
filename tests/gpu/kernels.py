"""A kernel of our own on the GPU, compiled by NVRTC; needs cuda-bindings."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

_SOURCE = b"""
extern "C" __global__ void add_one(float *x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] += 1.0f;
}
"""
_BLOCK = 128


def _nvrtc(function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
    status, *results = function(*arguments)
    assert int(status) == 0, f"{function.__name__} answers {status}"
    return results[0] if results else None


def _compiled(capability: str) -> bytes:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    try:
        program = _nvrtc(nvrtc.nvrtcCreateProgram, _SOURCE, b"add_one.cu", 0, [], [])
    except RuntimeError as error:
        pytest.skip(f"the NVRTC library is not installed: {error}")
    # Machine code: a driver older than the compiler does not read its PTX.
    option = f"--gpu-architecture=sm_{capability.replace('.', '')}".encode()
    _nvrtc(nvrtc.nvrtcCompileProgram, program, 1, [option])
    code = b" " * _nvrtc(nvrtc.nvrtcGetCUBINSize, program)
    _nvrtc(nvrtc.nvrtcGetCUBIN, program, code)
    return code


class AddOne:
    """Queues a kernel that adds 1 to ``n`` floats at an address; cuda-bindings memory must be open."""

    def __init__(self, capability: str, call: Callable[..., Any]) -> None:
        from cuda.bindings import driver

        self._driver, self._call = driver, call
        # cuModuleLoadData takes an address.
        self._code = np.frombuffer(_compiled(capability), np.uint8).copy()
        self._module = call(driver.cuModuleLoadData, self._code.ctypes.data)
        self._function = call(driver.cuModuleGetFunction, self._module, b"add_one")

    def __call__(self, address: int, n: int, stream: int) -> None:
        driver = self._driver
        blocks, handle = -(-n // _BLOCK), driver.CUstream(stream)
        parameters = ((address, n), (ctypes.c_void_p, ctypes.c_int))
        self._call(driver.cuLaunchKernel, self._function, blocks, 1, 1, _BLOCK, 1, 1, 0, handle, parameters, 0)
