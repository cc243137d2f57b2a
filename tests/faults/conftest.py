"""The real daemons on real ROS 2; and at the end, the table of what was measured."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jetvla.runtime.bundle import MANIFEST, SIGNATURE
from jetvla.runtime.keys import create_key_pair, load_private_key, sign

from . import rows
from .rig import Rig
from .settings import Settings, basic_settings

LOG_SHOWN = 4000


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows.MEASURED:
        path = config.rootpath / "build/faults.json"
        rows.write(path)
        terminalreporter.section(f"faults ({path})")
        for line in rows.table():
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and Rig.newest is not None:
        report.sections.append(("the daemons", Rig.newest.log[-LOG_SHOWN:]))
    return report


@pytest.fixture(scope="session", autouse=True)
def own_domain() -> Iterator[None]:
    """Nobody else's nodes are seen, and nobody else sees these."""
    former = os.environ.get("ROS_DOMAIN_ID")
    # Above 101 the ports of DDS lie among those that Linux gives to anybody.
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
    yield
    os.environ.pop("ROS_DOMAIN_ID")
    if former is not None:
        os.environ["ROS_DOMAIN_ID"] = former


@pytest.fixture(scope="session")
def ros() -> None:
    """Nothing here is done without it."""
    pytest.importorskip("rclpy", reason="needs rclpy: pip install 'jetvla[ros]'")


@pytest.fixture(scope="module")
def place(ros: None, tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """A folder with a signed bundle, for a rig that the tests of a module share."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copytree(tiny_bundle, folder / "bundle")
    key, _ = create_key_pair("test", folder / "keys")
    manifest = (folder / "bundle" / MANIFEST).read_bytes()
    (folder / "bundle" / SIGNATURE).write_bytes(sign(manifest, load_private_key(key)))
    return folder


@pytest.fixture
def settings(ros: None, tmp_path: Path, signed_bundle: Path) -> Settings:
    """What the daemons are configured with, for the test to change."""
    return basic_settings(tmp_path)


@pytest.fixture
def start(tmp_path: Path, settings: Settings) -> Iterator[Callable[[], Rig]]:
    """Starts a rig with ``settings`` as the test left them."""
    with ExitStack() as resources:
        yield lambda: Rig(tmp_path, resources, settings)
