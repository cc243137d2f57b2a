"""A package whose wheels would not install on its device is not built. The wheels here are empty."""

from __future__ import annotations

import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from jetvla.services.packaging.wheelhouse import LOCK, Target, check, lock

pytest.importorskip("uv", reason="needs the extra 'dev'")

JETPACK6, JETPACK7 = Target("arm64", "3.10"), Target("arm64", "3.12")
OWN = """\
Provides-Extra: record
Provides-Extra: fleet
Provides-Extra: gpu
Requires-Dist: numpy
Requires-Dist: exceptiongroup; python_version < "3.11"
Requires-Dist: mcap; extra == "record"
Requires-Dist: tuf; extra == "fleet"
Requires-Dist: cuda-bindings; extra == "gpu"
"""


@dataclass
class Wheelhouse:
    folder: Path

    def add(self, name: str, tag: str = "py3-none-any", metadata: str = "") -> Path:
        about = f"{name}-1.0.dist-info"
        path = self.folder / f"{name}-1.0-{tag}.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}")
            wheel.writestr(f"{about}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
            wheel.writestr(f"{about}/RECORD", "")
        return path

    def locked(self) -> Path:
        (self.folder / LOCK).write_text(lock(self.folder))
        return self.folder

    def refused(self, target: Target, capfd: pytest.CaptureFixture[str]) -> str:
        """What is said of it."""
        with pytest.raises(subprocess.CalledProcessError):
            check(self.locked(), target)
        return capfd.readouterr().err


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Wheelhouse:
    """Right for JetPack 7."""
    made = Wheelhouse(tmp_path)
    made.add("jetvla", metadata=OWN)
    made.add("numpy", "cp312-cp312-manylinux_2_28_aarch64")
    made.add("mcap")
    made.add("tuf")
    made.add("cuda_bindings")
    return made


def test_a_whole_one_is_taken(wheelhouse: Wheelhouse) -> None:
    check(wheelhouse.locked(), JETPACK7)


@pytest.mark.parametrize("name", ["numpy", "mcap", "tuf", "cuda_bindings"])
def test_what_jetvla_or_one_of_its_extras_needs_is_missing(
    wheelhouse: Wheelhouse, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    next(wheelhouse.folder.glob(f"{name}-*")).unlink()
    assert name.replace("_", "-") in wheelhouse.refused(JETPACK7, capfd)


def test_what_only_the_devices_python_needs_is_missing(
    wheelhouse: Wheelhouse, capfd: pytest.CaptureFixture[str]
) -> None:
    next(wheelhouse.folder.glob("numpy-*")).unlink()
    wheelhouse.add("numpy", "cp310-cp310-manylinux2014_aarch64")
    assert "exceptiongroup" in wheelhouse.refused(JETPACK6, capfd)
    wheelhouse.add("exceptiongroup")
    check(wheelhouse.locked(), JETPACK6)


def test_what_only_the_devices_processor_needs_is_missing(
    wheelhouse: Wheelhouse, capfd: pytest.CaptureFixture[str]
) -> None:
    wheelhouse.add("tuf", metadata='Requires-Dist: neon; platform_machine == "aarch64"\n')
    assert "neon" in wheelhouse.refused(JETPACK7, capfd)


@pytest.mark.parametrize("tag", ["manylinux_2_28_x86_64", "manylinux_2_39_aarch64", "musllinux_1_2_aarch64"])
def test_a_wheel_is_for_another_machine(wheelhouse: Wheelhouse, tag: str, capfd: pytest.CaptureFixture[str]) -> None:
    next(wheelhouse.folder.glob("numpy-*")).unlink()
    wheelhouse.add("numpy", f"cp312-cp312-{tag}")
    assert "numpy" in wheelhouse.refused(JETPACK7, capfd)
