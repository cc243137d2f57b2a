"""What the real processes do while nothing is broken; the faults are in the modules beside this one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .rig import Rig, within
from .settings import Settings

pytestmark = pytest.mark.ros

# 1 m/s^2 in a tick that came one period late.
LARGEST_CHANGE = 1.0 * 0.02
Start = Callable[[], Rig]


def test_it_never_moves_before_it_is_armed_nor_after_disarm(start: Start) -> None:
    rig = start()
    within(30, lambda: rig.status().chunks > 20, "chunks come")
    assert rig.sent == []
    rig.move()
    assert rig.operator.call("disarm", 5) == "disarm: done"
    within(5, lambda: rig.status().state == "DISARMED", "disarmed")
    published, chunks = len(rig.published()), rig.status().chunks
    within(5, lambda: rig.status().chunks > chunks + 20, "chunks still come")
    assert len(rig.published()) == published
    # Zeros for 2 s after a stop.
    assert np.count_nonzero(rig.published()[-250:] == 0) > 150


def test_a_stop_word_stops_and_an_instruction_never_arms(start: Start) -> None:
    rig = start()
    rig.move()
    rig.operator.say("Stop!", 10)
    within(5, lambda: rig.status().state == "DISARMED", "disarmed")
    rig.operator.say("move to the blue block", 10)
    within(5, lambda: rig.status().instruction == "move to the blue block", "instruction")
    assert rig.status().state == "DISARMED"


def test_the_guard_is_not_armed_while_somebody_else_commands(start: Start) -> None:
    from geometry_msgs.msg import Twist

    from jetvla.runtime.ros.session import RosSession

    rig = start()
    with RosSession("joystick") as other:
        other.node.create_publisher(Twist, "/cmd_vel", 10)
        within(30, lambda: "joystick" in rig.refusal(), "the refusal names the other publisher")
    rig.arm()


def test_no_camera_is_reported_and_waited_for(start: Start, settings: Settings) -> None:
    settings["cameras"] = {"front": {"kind": "ros", "topic": "/nobody"}}
    rig = start()
    within(30, lambda: rig.status().policy.startswith("idle, no camera"), "it waits for a camera")
    assert "no_camera" in rig.refusal()
    assert rig.daemons.dead() is None


def test_no_instruction_is_waited_for_armed_and_at_rest(start: Start, settings: Settings) -> None:
    settings["instruction"] = {}
    rig = start()
    within(30, lambda: rig.status().policy.startswith("idle, no instruction"), "it waits for an instruction")
    rig.arm()
    assert not rig.published().any()
    rig.operator.say("pick up the red block", 10)
    within(10, lambda: bool(rig.sent) and rig.sent[-1].speed > 0.1, "the robot moves")
    rig.operator.say("", 10)
    within(10, lambda: rig.sent[-1].speed == 0, "the robot rests")
    assert rig.status().state == "ARMED"


def test_ctrl_c_stops_the_robot_first(start: Start, tmp_path: Path, settings: Settings) -> None:
    rig = start()
    rig.daemons.stop()
    rig.daemons.processes.clear()
    run = subprocess.Popen(
        [sys.executable, "-m", "jetvla.services", "run", "--config", str(rig.path)], stderr=subprocess.PIPE, text=True
    )
    try:
        rig.move()
        run.send_signal(signal.SIGINT)
        _, log = run.communicate(timeout=20)
    finally:
        run.kill()
    assert run.returncode == 0, log
    speeds = rig.published()
    assert speeds[-1] == 0
    assert np.abs(np.diff(speeds)).max() <= LARGEST_CHANGE, "a controlled stop, not a jump to zero"
    assert rig.status().state == "DISARMED"
