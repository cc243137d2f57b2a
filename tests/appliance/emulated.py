"""The package for a Jetson's architecture, under qemu: ``make appliance-arm64``.

The release is Debian 12 with Python 3.11: no Debian has a Jetson's 3.10 or 3.12, so its wheels are those of 3.11. Those
for a Jetson are installed into a folder, and nothing of them runs but the dynamic linker. No speed that is seen here
means anything.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.keys import load_trusted
from jetvla.services.flash.host import LinuxHost
from jetvla.services.fleet.keys import KeyFolder
from jetvla.services.fleet.release import Release
from jetvla.services.fleet.repository import FleetRepository
from jetvla.services.packaging.wheelhouse import Target

from ..services.bundles import Maker
from . import root, wheels
from .conftest import CACHE
from .machine import GUARD, POLICY, Machine, until
from .rows import Row

PATIENCE_S = 900.0
# A question costs half a second of a processor, in front of what it waits for.
POLL_S = 2.0
CONFIG = """\
bundle: /var/lib/jetvla/bundles/current
cameras: {front: {kind: frames, path: /srv/pictures, loop: true}}
instruction: {text: pick up the red block, ttl_s: null}
policy: {threads: 1}
guard: {outputs: [{kind: log, path: /var/log/jetvla/commands.jsonl}]}
telemetry: {audit: /var/log/jetvla}
"""
# Under emulation nothing is in time; what is looked at is whether it starts.
PATIENT = "[Service]\nWatchdogSec=60\nTimeoutStartSec=600\n"
# qemu 7.2 shows programs the host's own /proc/cpuinfo, which ONNX Runtime does not survive on what it takes for an Arm.
# This one names the processor of an Orin, a Cortex-A78AE.
PROCESSOR = """\
processor\t: {number}
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1

"""
CPUINFO = "/srv/cpuinfo"
SEE_CPUINFO = f"[Service]\nBindReadOnlyPaths={CPUINFO}:/proc/cpuinfo\n"
# Nor can qemu 7.2 make the mounts of credentials, which these units of systemd would have, empty.
CREDENTIALS = ("systemd-sysctl", "systemd-sysusers", "systemd-tmpfiles-setup", "systemd-tmpfiles-setup-dev")
NO_CREDENTIALS = "[Service]\nLoadCredential=\n"
LIBRARIES = """
import platform, av, cv2, cryptography, mcap, numpy, onnxruntime, PIL, pydantic, systemd.daemon, tokenizers, tuf
print(f"{platform.machine()}, Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}")
"""
URL = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def machine(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    archive = os.environ.get("JETVLA_ARM64_ROOT")
    if archive is None:
        pytest.skip("JETVLA_ARM64_ROOT names no root file system; run 'make appliance-arm64'")
    native = platform.machine() == "aarch64"
    if not native and not LinuxHost().runs_aarch64():
        pytest.skip("programs for arm64 cannot run here: apt install qemu-user-static binfmt-support")
    place = root.unpack(Path(archive), CACHE / "machine-arm64")
    emulated = "".join(PROCESSOR.format(number=number) for number in range(os.cpu_count() or 1))
    (place / CPUINFO.lstrip("/")).write_text(Path("/proc/cpuinfo").read_text() if native else emulated)
    machine = Machine(place, tmp_path_factory.mktemp("console") / "console.log")
    yield machine
    machine.power_cut()
    subprocess.run(["rm", "-rf", "--one-file-system", str(place)], check=True)


def inside(machine: Machine, *command: str) -> str:
    """As :func:`root.inside`, on an Arm processor as far as the program can see."""
    return root.inside(machine.root, "sh", "-c", f'mount --bind {CPUINFO} /proc/cpuinfo && exec "$@"', "sh", *command)


def drop_in(machine: Machine, unit: str, text: str) -> None:
    # One for all units of a prefix would be hidden by that of a unit, were both of one name.
    path = machine.root / f"etc/systemd/system/{unit}.d/90-{unit}.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("bundles"))


@pytest.mark.parametrize("python", ["3.10", "3.12"])
def test_the_wheels_of_a_jetson(machine: Machine, tmp_path: Path, python: str, row: Row) -> None:
    """arm64: wheels for Python {python}, offline"""
    row.what = row.what.format(python=python)
    package = os.environ.get("JETVLA_DEVICE_DEB")
    interpreter = wheels.interpreter(python)
    if package is None or interpreter is None:
        row.outcome = f"not run: {'JETVLA_DEVICE_DEB names no package' if package is None else f'no Python {python}'}"
        pytest.skip(row.outcome)
    target = Target("arm64", python)
    place = machine.root / "root" / target.tag
    packages = wheels.install(interpreter, target, wheels.unpack(Path(package), tmp_path) / target.tag, place)
    modules = wheels.link(machine.root, place)
    shutil.rmtree(place)
    row.outcome = f"{packages} packages by the lock, and nothing else; {modules} extension modules can be linked"


def test_installed(machine: Machine, package: Path, row: Row) -> None:
    """arm64: dpkg -i, offline, under qemu"""
    began_s = time.monotonic()
    root.install(machine.root, package)
    row.seconds["installed"] = time.monotonic() - began_s
    assert "right" in inside(machine, "jetvla", "config", "check", "/etc/jetvla/jetvla.yaml")
    said = inside(machine, "/opt/jetvla/venv/bin/python", "-c", LIBRARIES)
    found = next(line for line in said.splitlines() if line.startswith("aarch64, Python "))
    assert (machine.root / "var/lib/jetvla/bundles").stat().st_mode & 0o777 == 0o755
    row.outcome = f"every library is imported: {found}"


def test_a_bundle_is_installed(machine: Machine, make: Maker, row: Row) -> None:
    """arm64: jetvla bundle install"""
    (machine.root / "etc/jetvla/jetvla.yaml").write_text(CONFIG)
    shutil.copy(make.key.with_suffix(".pub"), machine.root / "etc/jetvla/trusted.d")
    pack(make(1), machine.root / "root/tiny.jetvla")
    began_s = time.monotonic()
    said = inside(machine, "jetvla", "bundle", "install", "/root/tiny.jetvla")
    row.seconds["installed"] = time.monotonic() - began_s
    assert "current, and on trial" in said
    current = Bundle.open(machine.root / "var/lib/jetvla/bundles/current", load_trusted(make.keys))
    assert current.manifest.version == 1
    # Neither account of the daemons is root's.
    listed = inside(machine, "runuser", "-u", "jetvla-guard", "--", "jetvla", "bundle", "list")
    assert f"{current.digest}  {current.manifest.name} version 1  current, on trial" in listed
    row.outcome = "verified, its golden samples run, current"


def test_it_starts(machine: Machine, row: Row) -> None:
    """arm64: guard and policy start"""
    for unit in (GUARD, POLICY):
        drop_in(machine, unit, PATIENT)
    drop_in(machine, "jetvla-.service", SEE_CPUINFO)
    for name in CREDENTIALS:
        drop_in(machine, f"{name}.service", NO_CREDENTIALS)
    pictures = machine.root / "srv/pictures"
    pictures.mkdir()
    Image.new("RGB", (32, 32), "red").save(pictures / "0.png")
    began_ns = time.monotonic_ns()
    machine.boot()
    machine.run("mount", "--bind", CPUINFO, "/proc/cpuinfo")
    row.seconds["systemd"] = (time.monotonic_ns() - began_ns) / 1e9
    for unit in (GUARD, POLICY):
        until(lambda unit=unit: machine.is_active(unit), f"{unit} is active", PATIENCE_S, POLL_S)
        row.seconds[unit.removesuffix(".service")] = machine.since(unit, "ActiveEnterTimestampMonotonic", began_ns)
    assert machine.said(POLICY, "golden self-test passed")
    digest = Bundle.open(machine.root / "var/lib/jetvla/bundles/current", None).digest
    assert until(machine.status, "the guard reports")["bundle"] == digest
    row.outcome = "golden self-test passed, the guard reports"


def test_doctor(machine: Machine, row: Row) -> None:
    """arm64: jetvla doctor"""
    ran = subprocess.run(machine.entering("jetvla", "doctor", "--json"), capture_output=True, text=True, check=False)
    findings = {finding["what"]: finding for finding in json.loads(ran.stdout)["findings"]}
    # The host of a container may keep real time to itself, and doctor says so of the guard that runs.
    unready = [name for name, finding in findings.items() if finding["needed"] and not finding["ready"]]
    assert set(unready) <= {"scheduling of the service"}
    assert ran.returncode == (1 if unready else 0)
    assert findings["python"]["detail"].endswith("on aarch64")
    assert all(findings[name]["ready"] for name in ("trusted keys", "bundle", "engine", GUARD, POLICY))
    absent = [name for name, finding in findings.items() if not finding["ready"]]
    row.outcome = f"{len(findings)} findings; needed and not ready: {unready or 'nothing'}; absent: {', '.join(absent)}"


def test_an_update_from_a_server(machine: Machine, make: Maker, tmp_path: Path, row: Row) -> None:
    """arm64: jetvla bundle update, from the loopback"""
    repository = FleetRepository(tmp_path / "repository", KeyFolder(tmp_path / "fleet-keys"))
    repository.create()
    folder = make(2)
    bundle = Bundle.open(folder, None)
    release = Release(bundle.digest, 2, bundle.manifest.name, 100.0)
    pack(folder, tmp_path / release.path)
    repository.publish(release, tmp_path / release.path)
    shutil.copytree(tmp_path / "repository", machine.root / "root/repository")
    serve = ("python3", "-u", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", "/root/repository")
    machine.run("systemd-run", "--unit=server", *serve)
    until(lambda: machine.said("server.service", "Serving HTTP"), "the server listens", PATIENCE_S, POLL_S)
    began_s = time.monotonic()
    trust = f"/root/repository/metadata/{repository.first_root.name}"
    said = machine.run("jetvla", "bundle", "update", URL, "--trust-root", trust, "--no-activate")
    row.seconds["updated"] = time.monotonic() - began_s
    assert "installed, and not current" in said
    assert bundle.digest in machine.run("jetvla", "bundle", "list")
    row.outcome = "trusted, verified, its golden samples run, installed"
