"""The APIs of the real bindings, read in processes of their own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fetch_bindings import CUDA, TENSORRT, folder_of
from stubs import compile_stubs, dump

BINDINGS = Path(__file__).parents[2] / "build" / "tensorrt-bindings"


def _fetched(package: str, version: str) -> Path:
    place = folder_of(BINDINGS, package, version)
    if not place.is_dir():
        pytest.skip(f"{package} {version} is not there; fetch it with: make tensorrt-bindings")
    return place


@pytest.fixture(scope="session")
def stub_libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By major version of TensorRT."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, and the stub libraries are compiled with it")
    folder = tmp_path_factory.mktemp("stubs")
    return {major: compile_stubs(folder / major, major) for major in ("10", "11")}


@pytest.fixture(scope="session")
def tensorrt_apis(stub_libraries: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """By version."""
    places = {version: _fetched(package, version) for version, package in TENSORRT.items()}
    return {
        version: dump("dump_tensorrt.py", place, stub_libraries[version.partition(".")[0]])
        for version, place in places.items()
    }


@pytest.fixture(params=TENSORRT)
def api(request: pytest.FixtureRequest, tensorrt_apis: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Of one version."""
    return tensorrt_apis[request.param]


@pytest.fixture(params=CUDA)
def driver(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Of ``cuda.bindings.driver``."""
    return dump("dump_cuda.py", _fetched(CUDA[request.param], request.param))
