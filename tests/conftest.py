"""Fixtures for every test. Nothing here may need torch: the runtime's tests run without it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from jetvla.runtime.bundle import MANIFEST, SIGNATURE
from jetvla.runtime.keys import create_key_pair, load_private_key, sign
from jetvla.runtime.telemetry.stolen import stolen_s

# A guard stops the robot when its ticks come late, as they do where a host takes a virtual machine's processors away.
STOLEN_S = 0.03
_FILE_SIZE = resource.getrlimit(resource.RLIMIT_FSIZE)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Tests play a full disk by a limit on the size of files, under which no report could be written."""
    try:
        return (yield)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, _FILE_SIZE)


class _Theft:
    """Whether a host took processor time while a test ran, which says nothing then about the daemons."""

    def __init__(self) -> None:
        self._before_s = stolen_s()

    def begin(self) -> None:
        self._before_s = stolen_s()

    def __call__(self) -> bool:
        return stolen_s() - self._before_s >= STOLEN_S


_THEFT = _Theft()
# How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of live daemons are tried again if they fail while a host takes processor time, and for no other reason."""
    # pytest-rerunfailures need not be there where ROS 2 is not, and such tests are skipped.
    tries_again = config.pluginmanager.has_plugin("rerunfailures")
    for item in items:
        if tries_again and item.get_closest_marker("ros"):
            # A host's busy time lasts longer than a test: the next try waits.
            item.add_marker(pytest.mark.flaky(reruns=4, reruns_delay=15, condition=_THEFT))


def pytest_runtest_logstart() -> None:
    """Called before each try."""
    _THEFT.begin()


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """A small bundle of family end_to_end with random weights, unsigned; made by tests/data/make_tiny_bundle.py.

    Camera ``front`` 32x32, twist and gripper, H = 1, fp32 and int8-fp32. Read-only: copy it before changing it.
    """
    return Path(__file__).parent / "data" / "tiny-bundle"


@pytest.fixture
def signed_bundle(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A copy of the tiny bundle in ``bundle``, signed by the key ``test`` whose pair lies in ``keys`` beside it."""
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    key, _ = create_key_pair("test", tmp_path / "keys")
    (bundle / SIGNATURE).write_bytes(sign((bundle / MANIFEST).read_bytes(), load_private_key(key)))
    return bundle


@pytest.fixture
def breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every policy started from now on breaks its engine as this file says by then; see tests/faults/broken."""
    order, folder = tmp_path / "order", Path(__file__).parent / "faults" / "broken"
    monkeypatch.setenv("JETVLA_TEST_BROKEN", str(order))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))
    return order


@pytest.fixture(scope="session")
def build_plans() -> Callable[..., dict[str, int | str]]:
    """``build_plans(path, ...)`` gives, by the stem of an ONNX file, the bytes of its plan or what is wrong with it.

    Our own code builds it with NVIDIA's parser and optimizer, in a process of its own, for a GPU that is not there.
    """
    tests = Path(__file__).parent
    library = next((tests.parent / "build" / "tensorrt-bindings").glob("tensorrt-rtx-*"), None)
    if library is None:
        pytest.skip("TensorRT for RTX is not there; fetch it with: make tensorrt-bindings")

    def build(*graphs: Path) -> dict[str, int | str]:
        command = [sys.executable, str(tests / "contract" / "build_plans.py"), str(library), *map(str, graphs)]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return {Path(graph).stem: size for graph, size in json.loads(ran.stdout).items()}

    return build
