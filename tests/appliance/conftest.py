"""The package, installed into a real Debian that boots a real systemd: ``make appliance``."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from jetvla.runtime.bundle import MANIFEST, SIGNATURE
from jetvla.runtime.keys import create_key_pair, load_private_key, sign

from . import root, rows
from .machine import Machine
from .rows import ROWS, Row

HERE = Path(__file__).parent
TREE = HERE.parents[1]
CACHE = TREE / "build/appliance"
NEEDED = ("mmdebstrap", "systemd-nspawn", "nsenter", "chrt", "dpkg-deb")
# The tiny policy has random weights and asks for too much, which is not what is looked at here; nor is whether a host
# takes this machine's processors away for a while.
CONFIG = """\
bundle: /var/lib/jetvla/bundles/current
cameras:
  front: {kind: ros, topic: /camera/image_raw}
instruction: {text: pick up the red block, ttl_s: null}
policy: {threads: 1}
guard:
  limits: {excess_count: 1000000000, excess_window: 1000000000, period_ratio: 30}
  outputs: [{kind: twist, topic: /cmd_vel, frame: base_link}]
telemetry: {audit: /var/log/jetvla}
trial: {seconds: 10, clipped: 1.0, missed: 1000}
"""
ROBOT_UNIT = """\
[Service]
Environment=HOME=/root
EnvironmentFile=/etc/default/jetvla
ExecStart=/opt/jetvla/venv/bin/python /opt/robot.py /var/lib/robot.jsonl
"""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if ROWS:
        path = config.rootpath / os.environ.get("APPLIANCE_TABLE", "build/appliance.json")
        rows.write(path, f"{platform.platform()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        terminalreporter.section(f"appliance ({path})")
        for line in rows.table():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def package() -> Path:
    """The .deb that is tested; skips where nothing here can run."""
    if os.geteuid() != 0:
        pytest.skip("containers need root")
    if missing := [tool for tool in NEEDED if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} not installed: apt install mmdebstrap systemd-container util-linux dpkg")
    found = os.environ.get("APPLIANCE_DEB")
    if found is None:
        pytest.skip("APPLIANCE_DEB names no package; run 'make appliance'")
    return Path(found).resolve()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key pair ``robot``."""
    folder = tmp_path_factory.mktemp("keys")
    create_key_pair("robot", folder)
    return folder


def signed(bundle: Path, to: Path, keys: Path) -> Path:
    """A copy of ``bundle`` that the key of ``keys`` signed."""
    shutil.copytree(bundle, to)
    (to / SIGNATURE).write_bytes(sign((to / MANIFEST).read_bytes(), load_private_key(keys / "robot.key")))
    return to


@pytest.fixture(scope="session")
def machine(
    package: Path, keys: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """Installed and configured, never booted, with a simulated robot and a signed bundle in it."""
    place = root.copy(root.installed(CACHE, package, TREE / "constraints.txt"), CACHE / "machine")
    (place / "etc/jetvla/jetvla.yaml").write_text(CONFIG)
    shutil.copy(keys / "robot.pub", place / "etc/jetvla/trusted.d")
    give_bundle(place, signed(tiny_bundle, place / "root/tiny", keys))
    shutil.copy(HERE / "robot.py", place / "opt/robot.py")
    (place / "etc/systemd/system/robot.service").write_text(ROBOT_UNIT)
    (place / "var/log/journal").mkdir(exist_ok=True)
    machine = Machine(place, tmp_path_factory.mktemp("console") / "console.log")
    yield machine
    machine.power_cut()
    subprocess.run(["rm", "-rf", str(place)], check=True)


def give_bundle(place: Path, bundle: Path) -> None:
    root.inside(place, "jetvla", "bundle", "install", f"/root/{bundle.name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    found = item.funcargs.get("machine") if isinstance(item, pytest.Function) else None
    if report.failed and isinstance(found, Machine) and found.leader:
        journal = ("journalctl", "--boot", "--no-pager", "--lines=60", "--output=short-monotonic", "--unit=jetvla*")
        report.sections.append(("the journal", found.run(*journal, check=False)))
    return report


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The line of the table that the test fills in; its name is the first line of the test's docstring."""
    ROWS.append(Row((request.function.__doc__ or request.function.__name__).splitlines()[0].rstrip(".")))
    return ROWS[-1]
