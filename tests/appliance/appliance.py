"""What happens to a robot's computer, played on the installed package. The rows follow one another."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetvla.services.cli import COMMANDS

from . import root
from .conftest import CONFIG, TREE, signed
from .machine import COMPILE, GUARD, POLICY, ROBOT, Machine, until
from .rows import Row

CONFIG_PLACE = Path("etc/jetvla/jetvla.yaml")
ENGINES = Path("var/cache/jetvla/engines")
ENTRY = "entry.json"
CURRENT = Path("var/lib/jetvla/bundles/current")
# The guard's own time from a lost link to rest is judged by tests/faults; here only that it came to rest at all.
REST_S = 20.0
STEADY_S = 0.3


def up(machine: Machine) -> None:
    """Both daemons run, and a robot with a camera."""
    for unit in (GUARD, POLICY):
        until(lambda unit=unit: machine.is_active(unit), f"{unit} is active")
    machine.run("systemctl", "start", ROBOT)
    machine.favour(GUARD)


def moving(machine: Machine) -> bool:
    """The robot has had nothing but motion for a while."""
    latest = machine.commands(time.monotonic_ns() - round(STEADY_S * 1e9))
    return bool(latest) and all(any(values) for _, values in latest)


def arm(machine: Machine) -> None:
    """Arm until the robot moves; other load on this machine may make the guard stop it again."""

    def attempt() -> bool:
        state = machine.status().get("state")
        if state == "LATCHED":
            machine.run("jetvla", "arm", "--reset")
        elif state != "ARMED":
            machine.succeeds("jetvla", "arm", "--wait", "10", "--timeout", "60")
        return state == "ARMED" and moving(machine)

    up(machine)
    until(attempt, "the robot is armed and moves", 300)


def rest(machine: Machine, since_ns: int) -> float:
    """Seconds from then to the first of the zeros that the robot's last commands are."""

    def found() -> int | None:
        commands = machine.commands(since_ns)
        still = [t_ns for t_ns, values in reversed(commands) if not any(values)]
        if not commands or any(commands[-1][1]) or not still:
            return None
        moved = [t_ns for t_ns, values in commands if any(values)]
        return next(t_ns for t_ns in reversed(still) if not moved or t_ns > moved[-1])

    return (until(found, "the robot is commanded to rest", REST_S) - since_ns) / 1e9


def engines(machine: Machine) -> dict[str, int]:
    """Name and inode of every engine that is whole."""
    return {entry.parent.name: entry.stat().st_ino for entry in (machine.root / ENGINES).glob(f"[!.]*/{ENTRY}")}


def test_reproducible(package: Path, row: Row, tmp_path: Path) -> None:
    """package built again"""
    build = ["make", "deb", "ARCH=amd64", f"DEB_OUT={tmp_path}"]
    subprocess.run(build, cwd=TREE, check=True, capture_output=True)
    again = tmp_path / package.name
    assert root.digest(again) == root.digest(package)
    row.outcome = f"the same {again.stat().st_size / 1e6:.0f} MB, byte for byte"


def test_installed(machine: Machine, row: Row) -> None:
    """dpkg -i, offline"""
    place = machine.root
    assert (place / "etc/systemd/system/multi-user.target.wants/jetvla.target").is_symlink()
    root.inside(place, "/bin/sh", "-c", "systemd-analyze verify /usr/lib/systemd/system/jetvla*")
    version = root.inside(place, "jetvla", "config", "check", "/etc/jetvla/jetvla.yaml")
    assert "right" in version
    row.outcome = "enabled, not started; systemd-analyze verify is clean"


def test_power_cut_while_compiling(machine: Machine, row: Row) -> None:
    """first boot, power cut while engines build"""
    machine.boot()
    shown: list[str] = []
    until(lambda: _building(machine, shown), "an engine is being built")
    machine.power_cut()
    assert engines(machine) == {}
    row.outcome = f"no half engine; systemctl showed '{shown[-1]}'"


def test_first_boot(machine: Machine, row: Row) -> None:
    """boot again, with nobody's help"""
    began_ns = time.monotonic_ns()
    machine.boot()
    shown: list[str] = []
    until(lambda: _building(machine, shown) or machine.is_active(POLICY), "a build")
    assert shown, "the build was not shown"
    up(machine)
    assert len(engines(machine)) == 1
    row.seconds["policy ready"] = machine.since(POLICY, "ActiveEnterTimestampMonotonic", began_ns)
    row.seconds["of it compiling"] = machine.since(
        COMPILE, "InactiveEnterTimestampMonotonic", began_ns
    ) - machine.since(COMPILE, "InactiveExitTimestampMonotonic", began_ns)
    assert machine.status()["state"] in ("BOOT", "DISARMED")
    row.outcome = "compiled, then ready, disarmed"


def _building(machine: Machine, shown: list[str]) -> bool:
    (text,) = machine.show(COMPILE, "StatusText")
    if text.startswith("building"):
        shown.append(text)
    return bool(shown)


def test_the_robot_moves(machine: Machine, row: Row) -> None:
    """armed, through ROS 2, between three users"""
    arm(machine)
    (text,) = machine.show(GUARD, "StatusText")
    assert "bundle" in text
    (policy_text,) = machine.show(POLICY, "StatusText")
    assert "chunks/s, p99" in policy_text
    row.outcome = f"moves; systemctl status says '{policy_text.split(';')[0]};{policy_text.split(';')[1]}'"
    entry = next(e for e in machine.journal(GUARD) if e.get("JETVLA_EVENT") == "state")
    assert len(entry["JETVLA_BUNDLE"]) == 64
    assert entry["JETVLA_STAGE_MS"].startswith("{")


def test_reload(machine: Machine, row: Row) -> None:
    """reload: armed, wrong, right, too much"""
    config, pids = machine.root / CONFIG_PLACE, [machine.pid(unit) for unit in (GUARD, POLICY)]
    arm(machine)
    assert not machine.succeeds("systemctl", "reload", GUARD)
    assert machine.said(GUARD, "the robot is armed; disarm it first")
    assert machine.status()["state"] == "ARMED"
    machine.run("jetvla", "arm", "--disarm")
    until(lambda: machine.status()["state"] == "DISARMED", "it is disarmed")

    config.write_text(CONFIG + "speed: 1\n")
    assert not machine.succeeds("systemctl", "reload", GUARD)
    assert machine.said(GUARD, "speed: unknown key")

    began_ns = time.monotonic_ns()
    config.write_text(
        CONFIG.replace("ttl_s: null}", "ttl_s: null, stop_words: [basta]}").replace("threads: 1", "threads: 2")
    )
    machine.run("systemctl", "reload", GUARD)
    for unit in (GUARD, POLICY):
        until(lambda unit=unit: machine.said(unit, "reloaded: instruction.stop_words", began_ns), "it is reloaded")
        assert machine.said(unit, "only a restart takes it over: policy.threads", began_ns)
        until(lambda unit=unit: machine.is_active(unit), f"{unit} is no longer reloading")
    assert [machine.pid(unit) for unit in (GUARD, POLICY)] == pids
    arm(machine)
    said_ns = time.monotonic_ns()
    machine.run("jetvla", "say", "basta")
    row.seconds["at rest after the new stop word"] = rest(machine, said_ns)
    assert machine.said(GUARD, "stop word in 'basta'", said_ns)
    config.write_text(CONFIG)
    until(lambda: machine.succeeds("systemctl", "reload", GUARD), "reloaded")
    machine.run("jetvla", "say", "pick up the red block")
    row.outcome = "refused, refused, taken over, named"


def _ended(machine: Machine, unit: str, act: Callable[[], int], row: Row) -> int:
    """Do ``act`` to ``unit`` while the robot moves, and note when it was back; when it was done."""
    arm(machine)
    pid = machine.pid(unit)
    then_ns = act()
    until(lambda: machine.pid(unit) not in (0, pid) and machine.is_active(unit), f"{unit} is back", 120)
    row.seconds["active again"] = machine.since(unit, "ActiveEnterTimestampMonotonic", then_ns)
    return then_ns


def test_policy_killed(machine: Machine, row: Row) -> None:
    """policy SIGKILL"""
    then_ns = _ended(machine, POLICY, lambda: machine.kill(POLICY, signal.SIGKILL), row)
    row.seconds = {"at rest": rest(machine, then_ns)} | row.seconds
    row.outcome = "stopped by the guard, restarted, disarmed"
    assert machine.status()["state"] != "ARMED"


def test_policy_hangs(machine: Machine, row: Row) -> None:
    """policy hangs (SIGSTOP)"""
    then_ns = _ended(machine, POLICY, lambda: machine.kill(POLICY, signal.SIGSTOP), row)
    row.seconds = {"at rest": rest(machine, then_ns)} | row.seconds
    assert machine.said(POLICY, "Watchdog timeout", then_ns)
    row.outcome = "stopped by the guard, restarted by the watchdog, disarmed"


def test_guard_killed(machine: Machine, row: Row) -> None:
    """guard SIGKILL"""
    then_ns = _ended(machine, GUARD, lambda: machine.kill(GUARD, signal.SIGKILL), row)
    last = [t_ns for t_ns, values in machine.commands(then_ns) if any(values)]
    row.seconds = {"last command": (last[-1] - then_ns) / 1e9 if last else 0.0} | row.seconds
    assert until(lambda: machine.status().get("pid") == machine.pid(GUARD), "the new guard reports")
    assert machine.status()["state"] in ("BOOT", "DISARMED")
    row.outcome = "silence, which stops the robot by its own time-out; back disarmed"


def test_camera_gone(machine: Machine, row: Row) -> None:
    """camera away for 15 s"""
    arm(machine)
    pid, then_ns = machine.pid(POLICY), time.monotonic_ns()
    machine.run("systemctl", "stop", ROBOT)
    time.sleep(15)
    assert machine.pid(POLICY) == pid, "the policy was restarted"
    assert machine.is_active(POLICY)
    assert "no camera" in machine.show(POLICY, "StatusText")[0]
    assert machine.said(GUARD, "no_camera", then_ns)
    arm(machine)
    assert machine.pid(POLICY) == pid
    row.outcome = "a fault of the guard, no restart; arms again when it is back"


def test_stop(machine: Machine, row: Row) -> None:
    """systemctl stop while it moves"""
    arm(machine)
    then_ns = time.monotonic_ns()
    machine.run("systemctl", "stop", "jetvla.target", POLICY, GUARD)
    ended = {u: machine.since(u, "InactiveEnterTimestampMonotonic", then_ns) for u in (POLICY, GUARD)}
    row.seconds = {"at rest": rest(machine, then_ns), "policy ended": ended[POLICY], "guard ended": ended[GUARD]}
    assert row.seconds["at rest"] < ended[GUARD], "the guard ended before the robot was at rest"
    assert ended[POLICY] < ended[GUARD]
    assert machine.show(GUARD, "Result") == ["success"]
    row.outcome = "controlled stop, the guard last"
    machine.run("systemctl", "start", "jetvla.target")


def test_power_cut(machine: Machine, row: Row) -> None:
    """power cut while it moves"""
    arm(machine)
    before = engines(machine)
    machine.power_cut()
    began_ns = time.monotonic_ns()
    machine.boot()
    up(machine)
    row.seconds["policy ready"] = machine.since(POLICY, "ActiveEnterTimestampMonotonic", began_ns)
    assert engines(machine) == before
    assert machine.status()["state"] in ("BOOT", "DISARMED")
    assert "FAILED" not in machine.run("jetvla", "audit", "verify", "/var/log/jetvla", check=False)
    row.outcome = "back disarmed, no engine built again"


def test_another_fingerprint(machine: Machine, row: Row) -> None:
    """another power mode, and back"""
    before = engines(machine)
    mode = machine.root / "var/lib/nvpmodel/status"
    mode.parent.mkdir(exist_ok=True)
    mode.write_text("pmode:0002 fmode:quiet\n")
    machine.run("systemctl", "restart", "jetvla.target")
    up(machine)
    after = engines(machine)
    assert set(before) < set(after)
    mode.unlink()
    machine.run("systemctl", "restart", "jetvla.target")
    up(machine)
    assert engines(machine) == after
    row.outcome = "compiled for the other; the first one was kept, and used again"


def test_crash_loop(machine: Machine, row: Row) -> None:
    """a policy that crashes again and again"""
    up(machine)
    give_up = time.monotonic() + 300
    while machine.show(POLICY, "ActiveState") != ["failed"]:
        assert time.monotonic() < give_up
        if machine.is_active(POLICY):
            machine.kill(POLICY, signal.SIGKILL)
        time.sleep(0.1)
    row.outcome = f"systemd gave up after {machine.show(POLICY, 'NRestarts')[0]} restarts, the guard went on"
    assert machine.is_active(GUARD)
    machine.run("systemctl", "reset-failed", POLICY)
    machine.run("systemctl", "start", POLICY)


@pytest.fixture
def store(machine: Machine, row: Row) -> Machine:
    """A machine whose jetvla has a bundle store."""
    if "bundle" not in COMMANDS:
        row.outcome = "not run: this jetvla has no 'jetvla bundle' yet"
        pytest.skip(row.outcome)
    up(machine)
    return machine


def _newer(tiny_bundle: Path, keys: Path, to: Path, version: int, break_it: Any = lambda folder: None) -> Path:
    manifest = (tiny_bundle / "manifest.json").read_text()
    copied = shutil.copytree(tiny_bundle, to.with_name(f"{to.name}-unsigned"))
    (copied / "manifest.json").write_text(manifest.replace('"version": 1', f'"version": {version}'))
    found = signed(copied, to, keys)
    break_it(found)
    return found


def _place(machine: Machine, bundle: Path) -> str:
    shutil.copytree(bundle, machine.root / "root" / bundle.name)
    return f"/root/{bundle.name}"


def test_bad_bundle(store: Machine, row: Row, tiny_bundle: Path, keys: Path, tmp_path: Path) -> None:
    """install of an altered bundle"""
    before = (store.root / CURRENT).readlink()

    def alter(folder: Path) -> None:
        graph = folder / "step.fp32.onnx"
        graph.write_bytes(graph.read_bytes()[:-1] + b"\0")

    bad = _place(store, _newer(tiny_bundle, keys, tmp_path / "bad", 2, alter))
    assert not store.succeeds("jetvla", "bundle", "install", bad)
    assert (store.root / CURRENT).readlink() == before
    row.outcome = "refused, the current one stays"


def test_power_cut_during_install(store: Machine, row: Row, tiny_bundle: Path, keys: Path, tmp_path: Path) -> None:
    """power cut during the install of a bundle"""
    before = (store.root / CURRENT).readlink()
    place = _place(store, _newer(tiny_bundle, keys, tmp_path / "cut", 3))
    installing = subprocess.Popen(store.entering("jetvla", "bundle", "install", place), stdout=subprocess.DEVNULL)
    bundles = (store.root / CURRENT).parent
    until(lambda: any(bundles.glob(".*")) or installing.poll() is not None, "the installation writes")
    store.power_cut()
    installing.wait()
    store.boot()
    up(store)
    assert (store.root / CURRENT / "manifest.json").is_file()
    kept = (store.root / CURRENT).readlink() == before
    row.outcome = f"boots with {'the former' if kept else 'the new'} bundle, whole"


def test_roll_back(store: Machine, row: Row, tiny_bundle: Path, keys: Path, tmp_path: Path) -> None:
    """a new bundle whose policy crashes"""
    before = (store.root / CURRENT).resolve().name
    store.run("jetvla", "bundle", "install", _place(store, _newer(tiny_bundle, keys, tmp_path / "newer", 4)))
    assert (store.root / CURRENT).resolve().name != before
    then_ns = time.monotonic_ns()

    def crash() -> bool:
        if store.is_active(POLICY):
            store.kill(POLICY, signal.SIGKILL)
        return (store.root / CURRENT).resolve().name == before

    until(crash, "it went back", 300)
    row.seconds["went back"] = (time.monotonic_ns() - then_ns) / 1e9
    up(store)
    row.outcome = "rolled back by the health service, runs"


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
