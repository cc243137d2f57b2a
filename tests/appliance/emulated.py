"""The package for a Jetson's architecture, under qemu: ``make appliance-arm64``.

The release is Debian 12 with Python 3.11: no Debian has a Jetson's 3.10 or 3.12, so its wheels are those of 3.11. No
speed that is seen here means anything.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetvla.runtime.bundle import Bundle

from . import root
from .conftest import CACHE, give_bundle, signed
from .machine import GUARD, POLICY, Machine, until
from .rows import Row

PATIENCE_S = 900.0
CONFIG = """\
bundle: /var/lib/jetvla/bundles/current
cameras: {front: {kind: frames, path: /root/pictures, loop: true}}
instruction: {text: pick up the red block, ttl_s: null}
policy: {threads: 1}
guard: {outputs: [{kind: log, path: /var/log/jetvla/commands.jsonl}]}
"""
# Under emulation nothing is in time; what is looked at is whether it starts.
PATIENT = "[Service]\nWatchdogSec=60\nTimeoutStartSec=600\n"


@pytest.fixture(scope="module")
def machine(
    package: Path, keys: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    if not any(Path("/proc/sys/fs/binfmt_misc").glob("qemu-aarch64")):
        pytest.skip("programs for arm64 cannot run here: apt install qemu-user-static")
    place = root.copy(root.emulated(CACHE), CACHE / "machine-arm64")
    machine = Machine(place, tmp_path_factory.mktemp("console") / "console.log")
    yield machine
    machine.power_cut()
    subprocess.run(["rm", "-rf", str(place)], check=True)


def test_installed(machine: Machine, package: Path, row: Row) -> None:
    """arm64: dpkg -i, offline, under qemu"""
    began_s = time.monotonic()
    root.install(machine.root, package)
    row.seconds["installed"] = time.monotonic() - began_s
    assert "right" in root.inside(machine.root, "jetvla", "config", "check", "/etc/jetvla/jetvla.yaml")
    libraries = "import av, cv2, numpy, onnxruntime, platform; print(platform.machine(), onnxruntime.__version__)"
    said = root.inside(machine.root, "/opt/jetvla/venv/bin/python", "-c", libraries)
    assert "aarch64" in said
    row.outcome = f"every library is imported: {said.strip().splitlines()[-1]}"


def test_it_starts(machine: Machine, keys: Path, tiny_bundle: Path, row: Row) -> None:
    """arm64: guard and policy start"""
    place = machine.root
    (place / "etc/jetvla/jetvla.yaml").write_text(CONFIG)
    shutil.copy(keys / "robot.pub", place / "etc/jetvla/trusted.d")
    bundle = Bundle.open(tiny_bundle, None)
    give_bundle(place, signed(tiny_bundle, place / "root/tiny", keys))
    for unit in (GUARD, POLICY):
        drop_in = place / f"etc/systemd/system/{unit}.d/90-patient.conf"
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text(PATIENT)
    machine.boot()
    began_ns = time.monotonic_ns()
    for unit in (GUARD, POLICY):
        until(lambda unit=unit: machine.is_active(unit), f"{unit} is active", PATIENCE_S)
        row.seconds[unit.removesuffix(".service")] = (time.monotonic_ns() - began_ns) / 1e9
    assert machine.said(POLICY, "golden self-test passed")
    assert until(machine.status, "the guard reports")["bundle"] == bundle.digest
    row.outcome = "golden self-test passed, the guard reports"
