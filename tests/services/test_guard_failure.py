"""A guard that fails while the robot moves stops it first. No ROS 2: commands go into a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import FakeClock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.contracts import ActionChunk, Instruction
from jetvla.runtime.guard.arming import State
from jetvla.runtime.link.protocol import CameraHealth, Health, Hello, StageTimes
from jetvla.services.guard_process import GuardProcess

SENTENCE = "pick up the red block"
DECELERATION = 1.0
REQUEST = np.array([[0.15, 0.1, 0, 0, 0, 0.2, 0.5]], np.float32)


@pytest.fixture
def process(tmp_path: Path, tiny_bundle: Path) -> Iterator[GuardProcess]:
    config = Config.model_validate(
        {
            "bundle": "bundle",
            "run_dir": tmp_path,
            "cameras": {"front": {"kind": "frames", "path": "pictures"}},
            "instruction": {"text": SENTENCE},
            "guard": {"outputs": [{"kind": "log", "path": tmp_path / "commands.jsonl"}]},
        }
    )
    with GuardProcess(config, Bundle.open(tiny_bundle, None), clock=FakeClock()) as process:
        yield process


def feed(process: GuardProcess, clock: Any, seq: int) -> None:
    """A good policy's chunk and report."""
    now_ns = clock.now_ns()
    t0_ns = now_ns - seconds_to_ns(0.03)
    bundle = process._bundle.digest
    process.guard.on_chunk(ActionChunk(REQUEST, t0_ns, seconds_to_ns(0.1), Instruction.of(SENTENCE, 0).id, bundle, seq))
    process.guard.on_health(Health(now_ns, StageTimes(), (CameraHealth(0, seq, t0_ns),)))


def test_an_error_in_a_tick_ends_the_guard_and_the_robot_is_at_rest_before(
    process: GuardProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, turns = process._clock, 0
    process.guard.on_hello(Hello(process._bundle.digest, "cd" * 32, True, 0.0))
    process.guard.on_peers(True)

    def breaks(*_: object) -> None:
        raise RuntimeError("out of range")

    def until() -> bool:
        nonlocal turns
        feed(process, clock, turns)
        if turns == 0:
            assert process.guard.arm() == ()
        if turns == 60:
            assert process.guard.state is State.ARMED
            monkeypatch.setattr(process.report, "decided", breaks)
        turns += 1
        return False

    with pytest.raises(RuntimeError, match="out of range"):
        process.run(until)
    lines = [json.loads(line) for line in (tmp_path / "commands.jsonl").read_text().splitlines()]
    speeds = np.array([np.hypot(line["values"]["x"], line["values"]["y"]) for line in lines])
    assert speeds.max() > 0.1
    assert speeds[-1] == 0
    seconds = np.diff([line["t_ns"] for line in lines]) / 1e9
    assert (-np.diff(speeds) <= DECELERATION * seconds + 1e-6).all()
    assert not process.guard.publishing
