"""Faults around a real policy: processes, cameras, switches, other nodes, the disk. One rig is broken and repaired."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetvla.services.supervisor import GUARD, POLICY

from .camera import Mode
from .judge import assert_legal
from .rig import READY_S, Rig, within
from .robot import WatchedRobot
from .rows import CAMERA_HZ
from .settings import PATIENT, UNCOUNTED, basic_settings
from .verdict import stopped, went_on

pytestmark = pytest.mark.ros

WATCH_S = 1.0
TICK_NS = 10_000_000
# Room for the audit log of every row, tried five times, and for no ring of spans.
DISK_BYTES = 1536 * 1024


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of :data:`DISK_BYTES` on ``folder``, where this user may have one; else a folder like any other."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def rig(place: Path) -> Iterator[Rig]:
    """Guard and policy, a camera on ROS 2, a deadman switch; audit log and status on a small disk."""
    settings = basic_settings(place)
    settings["cameras"] = {"front": {"kind": "ros"}}
    settings["run_dir"], settings["telemetry"]["audit"] = "disk/run", "disk/audit"
    settings["guard"]["deadman"] = "~/deadman"
    settings["guard"]["limits"] = UNCOUNTED | PATIENT | {"rest_s": 0.5}
    # The policy asks for z most of all, and the simulated robot knows x and y.
    settings["guard"]["outputs"][0]["linear"] = ["z", "y", "x"]
    with ExitStack() as resources:
        resources.enter_context(small_disk(place / "disk"))
        yield Rig(place, resources, settings, camera_hz=CAMERA_HZ)


# Processes


def test_a_killed_policy(rig: Rig) -> None:
    rig.move()
    stopped(rig, "policy killed", rig.kill(POLICY))


def test_a_hung_policy(rig: Rig) -> None:
    rig.move()
    hung_ns = rig.kill(POLICY, signal.SIGSTOP)
    try:
        stopped(rig, "policy hangs", hung_ns)
    finally:
        rig.kill(POLICY, signal.SIGCONT)


def test_a_killed_guard_is_noticed_by_the_driver_and_the_robot_stops_by_itself(rig: Rig) -> None:
    rig.repair()
    with WatchedRobot() as robot:
        rig.move()
        robot.begin()
        robot.halted("guard killed", rig.kill(GUARD))
    before = rig.audited()
    # The next guard starts, is armed and moves the robot.
    rig.move()
    after = rig.audited()
    # A kill is no end of the audit log, and takes nothing from it.
    assert after[: len(before)] == before
    assert [e["kind"] for e in after if e["kind"] in ("start", "end")][-2:] == ["start", "start"]
    assert rig.audit_is_whole()


def test_a_frozen_guard_that_goes_on_stops_and_makes_up_for_nothing(rig: Rig) -> None:
    rig.repair()
    with WatchedRobot() as robot:
        rig.move()
        robot.begin()
        try:
            robot.halted("guard hangs", rig.kill(GUARD, signal.SIGSTOP))
        finally:
            thawed_ns = rig.kill(GUARD, signal.SIGCONT)
        within(10, lambda: rig.settled("DISARMED"), "DISARMED and nothing published")
    commands = rig.commands()
    assert_legal(commands)
    after = commands.t_ns > thawed_ns
    assert (np.diff(commands.speeds[after]) <= 1e-9).all(), "it only brakes"
    assert commands.speeds[-1] == 0
    # One tick may be late and the next in time.
    t_ns = commands.t_ns[after]
    assert (t_ns[2:] - t_ns[:-2]).min() > TICK_NS / 2, "a burst"
    assert "stall" in {e.get("fault") for e in rig.audited(thawed_ns)}
    assert rig.audit_is_whole()


# Cameras


@pytest.mark.parametrize(
    ("name", "mode"),
    [("camera silent", "silent"), ("camera freezes", "frozen"), ("camera dark", "dark"), ("time back", "back")],
)
def test_a_camera_that_breaks(rig: Rig, name: str, mode: Mode) -> None:
    rig.move()
    assert rig.bench.camera is not None
    stopped(rig, name, rig.bench.camera.set(mode))


# Switches


def test_the_deadman_switch_released(rig: Rig) -> None:
    rig.move()
    stopped(rig, "deadman released", rig.bench.release())
    assert "deadman" in rig.refusal()


def test_the_deadman_switch_falls_silent(rig: Rig) -> None:
    rig.move()
    rig.bench.holding = False
    stopped(rig, "deadman silent", time.monotonic_ns())


def test_the_emergency_stop(rig: Rig) -> None:
    rig.move()
    stopped(rig, "estop", rig.bench.press(True))
    assert "estop" in rig.refusal()


def test_the_emergency_stop_during_a_stop(rig: Rig) -> None:
    rig.move()
    released_ns = rig.bench.release()
    within(1, lambda: rig.state == "STOPPING", "stopping")
    time.sleep(0.1)
    rig.bench.press(True)
    stopped(rig, "estop while stopping", released_ns)
    speeds = rig.published()
    assert speeds[-1] == 0


# Other nodes


def test_a_second_publisher_of_commands(rig: Rig) -> None:
    from geometry_msgs.msg import Twist

    from jetvla.runtime.ros.session import RosSession

    with RosSession("joystick") as other:
        heard: list[Twist] = []
        other.node.create_subscription(Twist, "/cmd_vel", heard.append, 10)
        rig.move()
        # DDS may take seconds to make two processes known to each other; that is no time of the guard's.
        within(READY_S, lambda: other.spin_once(0.1) or heard, "the joystick's process is known to the guard")
        rig.move()
        since_ns = time.monotonic_ns()
        other.node.create_publisher(Twist, "/cmd_vel", 10)
        stopped(rig, "second publisher", since_ns)
        assert "joystick also publishes /cmd_vel" in rig.refusal()


def test_a_driver_of_another_type(rig: Rig) -> None:
    from geometry_msgs.msg import Twist, TwistStamped

    rig.move()
    changed_ns = _change_driver(rig, TwistStamped)
    try:
        stopped(rig, "other type", changed_ns)
        refusal = rig.refusal()
        assert "as geometry_msgs/msg/Twist, only as geometry_msgs/msg/TwistStamped" in refusal
    finally:
        _change_driver(rig, Twist)


def _change_driver(rig: Rig, kind: type[Any]) -> int:
    """The driver takes messages of ``kind`` from now on; when."""
    done = threading.Event()
    changed_ns = time.monotonic_ns()

    def change() -> None:
        rig.node.destroy_subscription(rig.bench.driver)
        rig.bench.drive(kind)
        done.set()

    rig.spinner.change(change)
    assert done.wait(5)
    return changed_ns


# The disk


def test_a_full_disk_neither_stops_nor_hinders_anything(rig: Rig) -> None:
    disk = rig.config.run_dir.parent
    if not os.path.ismount(disk):
        pytest.skip("needs the right to mount a small file system")
    rig.move()
    since_ns = time.monotonic_ns()
    with filled(disk):
        time.sleep(WATCH_S)
        went_on(rig, "disk full", since_ns)
        released_ns = rig.bench.release()
        within(5, lambda: rig.state == "DISARMED", "disarmed")
        _make_events(rig)
        within(5, lambda: "No space left on device" in rig.log.partition("audit: cannot write")[2], "it is said")
        assert rig.daemons.dead() is None
    within(5, lambda: "audit: writes again" in rig.log, "it writes again")
    # Nothing has been lost, for all of it could wait.
    stopped(rig, "stop on a full disk", released_ns)
    audit = rig.status().audit
    assert audit is not None
    assert audit["lost"] == 0


def test_what_a_full_disk_takes_from_the_audit_log_is_counted_and_said(rig: Rig) -> None:
    disk = rig.config.run_dir.parent
    if not os.path.ismount(disk):
        pytest.skip("needs the right to mount a small file system")
    rig.move()
    rig.bench.release()
    within(5, lambda: rig.state == "DISARMED", "disarmed")
    before = rig.log
    with filled(disk):
        _make_events(rig)
        guard = rig.daemons.processes[GUARD]
        guard.terminate()
        assert guard.wait(60) == 0, rig.log[-2000:]
        assert "lines are lost" in rig.log[len(before) :]
    rig.move()
    assert rig.audit_is_whole()


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is free on ``disk`` meanwhile."""
    filler = disk / "filler"
    try:
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(DISK_BYTES))
        yield
    finally:
        filler.unlink()


def _make_events(rig: Rig) -> None:
    """More than fits into what the file system has already given to the audit log."""
    for _ in range(20):
        for held in (True, False):
            rig.bench.hold(held)
            time.sleep(0.02)
