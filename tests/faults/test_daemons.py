"""Faults of the real processes: what the robot is told, and how soon."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.errors import ArmingError

from .conftest import Rig, Sent, within

pytestmark = pytest.mark.ros

STOP_S = 0.5
# 1 m/s^2 in a tick that came one period late.
LARGEST_CHANGE = 1.0 * 0.02
Start = Callable[[], Rig]
Settings = dict[str, object]


def seconds_to_rest(sent: list[Sent], fault_ns: int) -> float:
    """From the fault to the first of the zeros at the end."""
    moving = [s.t_ns for s in sent if s.speed > 0]
    zeros = [s.t_ns for s in sent if s.t_ns > moving[-1]]
    assert zeros, "no zero was sent"
    return (zeros[0] - fault_ns) / NS_PER_S


def test_a_killed_policy_is_a_controlled_stop_with_its_reason(start: Start) -> None:
    rig = start()
    rig.move()
    killed_ns = rig.kill("policy")
    within(5, lambda: rig.status().state == "DISARMED", "disarmed")
    assert seconds_to_rest(rig.sent, killed_ns) < STOP_S
    assert "link_lost" in "\n".join(rig.status().events)
    speeds = rig.published()
    assert np.abs(np.diff(speeds)).max() <= LARGEST_CHANGE, "a controlled stop, not a jump to zero"
    # Zeros for 2 s after it.
    assert np.count_nonzero(speeds[-250:] == 0) > 150


def test_a_hung_policy_is_stopped_for_its_silence(start: Start) -> None:
    rig = start()
    rig.move()
    hung_ns = rig.kill("policy", signal.SIGSTOP)
    try:
        within(5, lambda: rig.status().state == "DISARMED", "disarmed")
    finally:
        rig.kill("policy", signal.SIGCONT)
    # 250 ms of silence, or 200 ms of action age, before the stop begins.
    assert seconds_to_rest(rig.sent, hung_ns) < 0.25 + STOP_S
    assert {"link_silent", "stale_chunk", "late_chunks"} & rig.status().counts.keys()


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
    assert rig.published()[-1] == 0


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
        within(30, lambda: "joystick" in _refusal(rig), "the refusal names the other publisher")
    rig.arm()


def _refusal(rig: Rig) -> str:
    try:
        rig.operator.call("arm", 30)
    except ArmingError as error:
        return str(error)
    return ""


def test_no_camera_is_reported_and_waited_for(start: Start, settings: Settings) -> None:
    settings["cameras"] = {"front": {"kind": "ros", "topic": "/nobody"}}
    rig = start()
    within(30, lambda: rig.status().policy.startswith("idle, no camera"), "it waits for a camera")
    assert "no_camera" in _refusal(rig)
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
    rig.sent.clear()
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
