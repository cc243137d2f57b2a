"""Whether there is a GPU is asked of the driver, whose absence or refusal is told with its remedy."""

# ruff: noqa: N802 (names are the driver's)
from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest

from jetvla.runtime import memory
from jetvla.runtime.errors import EngineError, MissingDependency
from jetvla.runtime.memory import Gpu, driver, find_gpu, open_memory


class FakeDriver:
    """An Orin with CUDA 12.6; ``fails`` answers with a status."""

    fails: dict[str, int]

    def __init__(self, **fails: int) -> None:
        self.fails = fails

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.fails.get(name) or getattr(self, f"_{name}")(*arguments)

    def _cuInit(self, flags: int) -> int:
        return 0

    def _cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    def _cuDeviceGet(self, device: Any, ordinal: int) -> int:
        device._obj.value = ordinal
        return 0

    def _cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = b"Orin"
        return 0

    def _cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = {75: 8, 76: 7}[attribute]
        return 0

    def _cuGetErrorString(self, status: int, text: Any) -> int:
        text._obj.value = b"no CUDA-capable device is detected" if status == 100 else None
        return 0


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    find_gpu.cache_clear()
    yield
    find_gpu.cache_clear()


def test_a_gpu_is_described_by_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_driver", FakeDriver)
    assert find_gpu() == Gpu("Orin", "8.7", "12.6")


@pytest.mark.parametrize(
    ("call", "status", "says"),
    [
        ("cuInit", 100, r"cuInit answers 100 \(no CUDA-capable device is detected\); look at 'nvidia-smi'"),
        ("cuDeviceGet", 101, r"cuDeviceGet answers 101 \(unknown error\)"),
    ],
)
def test_a_driver_that_refuses_says_why(monkeypatch: pytest.MonkeyPatch, call: str, status: int, says: str) -> None:
    monkeypatch.setattr(driver, "_driver", lambda: FakeDriver(**{call: status}))
    with pytest.raises(EngineError, match=says):
        find_gpu()


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(MissingDependency, match=r"needs the CUDA driver \(libcuda-that-is-not-there\.so\.1\)"):
        find_gpu()


def test_the_library_is_loaded_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", None)  # this process itself, which has no cuInit
    assert isinstance(driver._driver(), ctypes.CDLL)


def test_memory_needs_a_driver_before_any_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(MissingDependency, match="CUDA driver"):
        open_memory("pycuda")


def test_without_a_library_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "find_gpu", lambda: Gpu("Orin", "8.7", "12.6"))
    monkeypatch.setattr(memory, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"cuda-bindings or pycuda, .*pip install cuda-bindings"):
        open_memory()


def test_an_unknown_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "find_gpu", lambda: Gpu("Orin", "8.7", "12.6"))
    with pytest.raises(EngineError, match="no device memory 'cupy'; choose from auto, cuda-bindings, pycuda"):
        open_memory("cupy")
