"""What the real processes do while nothing is broken; the faults are in the modules beside this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jetvla.runtime.telemetry.span_reader import SpanReader
from jetvla.services.supervisor import GUARD, POLICY

from .judge import assert_legal
from .rig import Rig, within
from .settings import Settings

pytestmark = pytest.mark.ros

Start = Callable[[], Rig]


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
    command = [sys.executable, "-m", "jetvla.services", "run", "--config", str(rig.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        try:
            rig.move()
            run.send_signal(signal.SIGINT)
            _, log = run.communicate(timeout=60)
        finally:
            run.kill()
    assert run.returncode == 0, log
    assert rig.published()[-1] == 0
    # A controlled stop, not a jump to zero.
    assert_legal(rig.commands())
    assert rig.status().state == "DISARMED"


def test_spans_of_both_processes_tell_each_frame_s_way(start: Start) -> None:
    rig = start()
    rig.move()
    within(10, lambda: rig.status().stages.get("age", {}).get("count", 0) > 10, "frames are answered")
    policy, guard = (SpanReader(rig.config.spans(name)).read() for name in (POLICY, GUARD))
    assert {policy.pid, guard.pid} == {process.pid for process in rig.daemons.processes.values()}
    steps = {span.frame_ns: span for span in policy.spans if span.stage == "step"}
    publishes = {span.frame_ns: span for span in guard.spans if span.stage == "publish" and span.frame_ns}
    ages = [span for span in guard.spans if span.stage == "age" and span.frame_ns in steps]
    assert len(ages) > 5
    for age in ages:
        assert age.begin_ns == age.frame_ns
        assert steps[age.frame_ns].end_ns < publishes[age.frame_ns].begin_ns < age.end_ns


def test_no_thread_of_the_guard_can_be_put_off_by_another_program(start: Start) -> None:
    rig = start()
    pid = rig.daemons.processes[GUARD].pid
    if not rig.status().scheduling.startswith("SCHED_FIFO"):
        pytest.skip(f"SCHED_FIFO is not permitted here: {rig.status().scheduling}")
    threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    priorities = {thread: os.sched_getparam(thread).sched_priority for thread in threads}
    assert all(os.sched_getscheduler(thread) == os.SCHED_FIFO for thread in threads)
    assert len(threads) > 3
    assert priorities.pop(pid) > max(priorities.values())
