"""What a CUDA machine offers; what it lacks is skipped by name. Needs pytest and numpy, and cuda-bindings or pycuda."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kernels import AddOne

from jetvla.runtime.errors import JetvlaError, MissingDependency
from jetvla.runtime.memory import MEMORIES, DeviceMemory, Gpu, find_gpu, open_memory


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    try:
        return find_gpu()
    except JetvlaError as error:
        pytest.skip(str(error))


def _opened(name: str) -> DeviceMemory:
    try:
        return open_memory(name)
    except MissingDependency as error:
        pytest.skip(str(error))


@pytest.fixture(params=MEMORIES)
def memory(request: pytest.FixtureRequest, gpu: Gpu) -> DeviceMemory:
    """Each adapter whose library is installed."""
    return _opened(request.param)


@pytest.fixture
def capturing(gpu: Gpu) -> DeviceMemory:
    """The adapter that can capture."""
    return _opened("cuda-bindings")


@pytest.fixture
def add_one(capturing: DeviceMemory, gpu: Gpu) -> AddOne:
    from jetvla.runtime.memory.cuda_bindings import _call

    return AddOne(gpu.compute_capability, _call)
