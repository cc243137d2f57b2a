"""What happens to a robot's computer, played on the installed package. The rows follow one another."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import root
from .conftest import CONFIG, TREE
from .machine import COMPILE, GUARD, POLICY, ROBOT, Machine, until
from .rows import Row
from .steps import CONFIG_PLACE, arm, engines, rest, up


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
    # The rate is of a second at least.
    until(lambda: "chunks/s, p99" in machine.show(POLICY, "StatusText")[0], "the policy tells its rate", 5)
    (policy_text,) = machine.show(POLICY, "StatusText")
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
    machine.run("jetvla", "disarm")
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
    mode.write_text("pmode:0001 fmode:quiet\n")
    # As if it could not be built, or not now.
    machine.run("systemctl", "mask", "--runtime", "jetvla-compile.service")
    began_ns = time.monotonic_ns()
    machine.run("systemctl", "restart", "jetvla.target")
    up(machine)
    assert machine.said(POLICY, "power_mode: 0001, was 0002); the former one is used", began_ns)
    assert engines(machine) == after
    machine.run("systemctl", "unmask", "--runtime", "jetvla-compile.service")
    mode.unlink()
    machine.run("systemctl", "restart", "jetvla.target")
    up(machine)
    assert engines(machine) == after
    row.outcome = "compiled for the other; that one ran a third, not built; the first was kept, and used again"


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
