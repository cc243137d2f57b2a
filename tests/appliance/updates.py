"""What happens to the bundles of a robot: from a file, from a fleet's server, and in a power cut.

It goes on where ``appliance.py`` ends, and the rows follow one another; the last one removes the package.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tuf", reason="needs the extra 'fleet'")

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.keys import load_trusted
from jetvla.services.fleet.keys import KeyFolder
from jetvla.services.fleet.release import Release
from jetvla.services.fleet.repository import FleetRepository
from jetvla.services.store.source import open_source, verify

from ..services.bundles import Maker
from . import root
from .conftest import CONFIG
from .machine import COMPILE, GUARD, POLICY, POLL_S, TURN, Machine, until
from .rows import Row
from .steps import CONFIG_PLACE, CURRENT, STEADY_S, arm, up

SERVED = Path("srv/fleet")
URL = "http://127.0.0.1:8000"
SERVER_UNIT = f"""\
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /{SERVED} 8000
"""
HISTORY = CURRENT.with_name("history.jsonl")


class Fleet:
    """A fleet's repository, and the web server in the machine that holds a copy of it."""

    def __init__(self, place: Path, machine: Machine, make: Maker) -> None:
        self._place, self._machine, self._make = place, machine, make
        self.path, self.keys = place / "fleet", KeyFolder(place / "fleet-keys")
        self.repository = FleetRepository(self.path, self.keys)
        self.repository.create()

    def publish(self, version: int, wrong: bool = False) -> str:
        """Offer a bundle to everybody; its digest."""
        packed = self._place / f"{version}.jetvla"
        pack(self._make(version, wrong), packed)
        verified = verify(open_source(packed), load_trusted(self._make.keys))
        self.repository.publish(Release(verified.digest, version, verified.manifest.name, 100.0), packed)
        self.serve(self.path)
        return verified.digest

    def serve(self, folder: Path) -> None:
        """Copy ``folder`` to the server."""
        served = self._machine.root / SERVED
        shutil.rmtree(served, ignore_errors=True)
        shutil.copytree(folder, served)

    def update(self, *options: str) -> str:
        """What ``jetvla bundle update`` says."""
        return self._machine.run("jetvla", "bundle", "update", URL, *options, check=False)


@pytest.fixture(scope="module")
def make(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes bundles that the machine trusts."""
    maker = Maker(tmp_path_factory.mktemp("bundles"))
    shutil.copy(maker.keys / "test.pub", machine.root / "etc/jetvla/trusted.d")
    return maker


@pytest.fixture(scope="module")
def fleet(machine: Machine, make: Maker, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    (machine.root / "etc/systemd/system/fleet.service").write_text(SERVER_UNIT)
    found = Fleet(tmp_path_factory.mktemp("fleet"), machine, make)
    found.serve(found.path)
    if not machine.leader:
        machine.boot()
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "fleet.service")
    return found


@pytest.fixture
def store(machine: Machine, fleet: Fleet) -> Machine:
    """The machine, up."""
    up(machine)
    return machine


def current(machine: Machine) -> str:
    return (machine.root / CURRENT).readlink().name


def happened(machine: Machine, what: str, digest: str) -> dict[str, Any] | None:
    """The newest line of the store's history that says so."""
    lines = (machine.root / HISTORY).read_text().splitlines()
    entries: Iterator[dict[str, Any]] = (json.loads(line) for line in reversed(lines))
    return next((entry for entry in entries if entry["what"] == what and entry["digest"] == digest), None)


def runs(machine: Machine, digest: str) -> None:
    """Both daemons run with ``digest``, and it has come through its trial."""
    until(lambda: machine.status().get("bundle") == digest, "the guard has that bundle")
    up(machine)
    until(lambda: happened(machine, "committed", digest), "the bundle is committed")
    assert machine.status()["state"] == "DISARMED"


def test_the_first_bundle_is_committed(store: Machine, row: Row) -> None:
    """the bundle that was installed first, on trial"""
    runs(store, current(store))
    row.outcome = "committed by the health service"


def test_bad_bundle(store: Machine, row: Row, make: Maker) -> None:
    """install of an altered bundle"""
    before, bad = current(store), make(9)
    graph = bad / "step.fp32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    shutil.copytree(bad, store.root / "root/bad")
    said = store.run("jetvla", "bundle", "install", "/root/bad", check=False)
    assert "step.fp32.onnx is altered" in said
    assert current(store) == before
    row.outcome = "refused, the current one stays"


def test_update(store: Machine, row: Row, fleet: Fleet) -> None:
    """update from a server, 1 to 2, while the robot moves"""
    digest, before = fleet.publish(2), store.status()["bundle"]
    arm(store)
    trust = ("--trust-root", f"/{SERVED}/metadata/1.root.json")
    refused = fleet.update(*trust)
    assert "jetvla disarm" in refused, refused
    said = fleet.update(*trust, "--while-armed")
    assert current(store) == digest, said
    give_up = time.monotonic() + 3 * STEADY_S
    while time.monotonic() < give_up and (seen := store.status())["state"] == "ARMED":
        assert seen["bundle"] == before, "the guard was restarted while the robot moved"
        time.sleep(POLL_S)
    # Other work of this machine may have stopped it already.
    store.succeeds("jetvla", "disarm")
    runs(store, digest)
    assert not any(store.commands()[-1][1]), "the robot was not at rest when its guard ended"
    ended, ready = (store.since(*what, 0) for what in _downtime())
    began, built = (store.since(COMPILE, f"Inactive{which}TimestampMonotonic", 0) for which in ("Exit", "Enter"))
    row.seconds = {"down": ready - ended, "of it compiling": built - began}
    row.outcome = "refused without --while-armed; waited until the robot was disarmed, then restarted; committed"


def _downtime() -> tuple[tuple[str, str], tuple[str, str]]:
    """Properties that tell when the guard stopped serving, and when the policy was ready again."""
    return (GUARD, "InactiveEnterTimestampMonotonic"), (POLICY, "ActiveEnterTimestampMonotonic")


def test_wrong_golden_samples_are_not_installed(store: Machine, row: Row, fleet: Fleet) -> None:
    """update to 3, which fails its golden samples"""
    before = current(store)
    fleet.publish(3, wrong=True)
    assert "does not compute its golden samples" in fleet.update()
    assert current(store) == before
    row.outcome = "refused before anything was changed"


def test_wrong_golden_samples_are_gone_back_from(store: Machine, row: Row, fleet: Fleet) -> None:
    """the same, installed without running them"""
    before, then_ns = current(store), time.monotonic_ns()
    said = fleet.update("--skip-golden")
    wrong = current(store)
    assert wrong != before, said
    until(lambda: current(store) == before, "it went back", 300)
    row.seconds["went back"] = (time.monotonic_ns() - then_ns) / 1e9
    assert "golden" in until(lambda: happened(store, "failed", wrong), "the history tells")["detail"]
    until(lambda: store.status().get("bundle") == before, "the good one runs again")
    up(store)
    row.outcome = "rolled back by the health service"
    fleet.update()
    assert current(store) == before, "what failed was taken again"


def test_a_replayed_repository(store: Machine, row: Row, fleet: Fleet) -> None:
    """an old repository on the server"""
    old = shutil.copytree(fleet.path, fleet.path.with_name("old"))
    before, digest = current(store), fleet.publish(4)
    said = fleet.update("--no-activate")
    assert happened(store, "installed", digest), said
    fleet.serve(old)
    assert "older than what this device has seen" in fleet.update()
    assert current(store) == before
    row.outcome = "refused"


def test_an_expired_repository(store: Machine, row: Row, fleet: Fleet) -> None:
    """a repository that has expired"""
    before = current(store)
    FleetRepository(fleet.path, fleet.keys, {"timestamp": -1}).refresh()
    fleet.serve(fleet.path)
    assert "metadata has expired" in fleet.update()
    assert current(store) == before
    fleet.repository.refresh()
    row.outcome = "refused"


def test_a_tampered_repository(store: Machine, row: Row, fleet: Fleet) -> None:
    """a bundle that was altered on the server"""
    before, digest = current(store), fleet.publish(5)
    (target,) = (store.root / SERVED / "targets").glob(f"**/*{digest[:8]}*")
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    assert "a file is altered or cut short" in fleet.update()
    assert current(store) == before
    assert happened(store, "installed", digest) is None
    row.outcome = "refused"


def test_crash_loop_goes_back(store: Machine, row: Row, make: Maker) -> None:
    """a new bundle whose policy crashes"""
    before = current(store)
    shutil.copytree(make(6), store.root / "root/crashes")
    store.run("jetvla", "bundle", "install", "/root/crashes")
    assert current(store) != before
    then_ns = time.monotonic_ns()

    def crash() -> bool:
        if store.is_active(POLICY):
            store.kill(POLICY, signal.SIGKILL)
        return current(store) == before

    until(crash, "it went back", 300)
    row.seconds["went back"] = (time.monotonic_ns() - then_ns) / 1e9
    until(lambda: store.status().get("bundle") == before, "the good one runs again")
    up(store)
    row.outcome = "rolled back by the health service, runs"


def test_power_cut_during_install(store: Machine, row: Row, make: Maker) -> None:
    """power cut during the install of a bundle"""
    before, cut = current(store), make(7)
    digest = Bundle.open(cut, None).digest
    shutil.copytree(cut, store.root / "root/cut")
    # Before this test in no queue, or it would be done before this test has seen it begin.
    install = store.entering("jetvla", "bundle", "install", "/root/cut")[len(TURN) :]
    installing = subprocess.Popen(install, stdout=subprocess.DEVNULL)
    bundles = (store.root / CURRENT).parent
    until(lambda: any(bundles.glob(".*.partial")) or installing.poll() is not None, "the installation writes")
    store.power_cut()
    installing.wait()
    assert happened(store, "installed", digest) is None, "it was done before the power was cut"
    assert current(store) == before
    store.boot()
    up(store)
    assert store.status()["bundle"] == before
    store.run("jetvla", "bundle", "install", "/root/cut")
    assert current(store) == digest
    assert not list(bundles.glob(".*.partial"))
    row.outcome = "boots with the former bundle; the next install succeeds and cleans up"


def test_upgrade_remove_purge(machine: Machine, package: Path, row: Row) -> None:
    """install again, remove, purge"""
    machine.power_cut()
    place, config = machine.root, machine.root / CONFIG_PLACE
    config.write_text(CONFIG + "# mine\n")
    root.install(place, package)
    assert config.read_text().endswith("# mine\n")
    root.inside(place, "dpkg", "--remove", "jetvla")
    assert config.read_text().endswith("# mine\n")
    assert not (place / "opt/jetvla").exists()
    assert not (place / "usr/bin/jetvla").exists()
    root.inside(place, "dpkg", "--purge", "jetvla")
    left = [
        path
        for pattern in ("etc/jetvla", "var/*/jetvla", "opt/jetvla", "usr/lib/jetvla")
        for path in place.glob(pattern)
    ]
    left += list((place / "etc/systemd/system").rglob("*jetvla*"))
    assert left == []
    row.outcome = "the configuration was kept, kept, and is gone"
