"""A guard that fails while the robot moves stops it first. No ROS 2: commands go into a file."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import FakeClock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.contracts import ActionChunk, Command, Instruction
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
            "guard": {"outputs": [{"kind": "log", "path": tmp_path / f"{n}.jsonl"} for n in ("other", "commands")]},
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


@pytest.fixture
def run(process: GuardProcess) -> Callable[[Callable[[], None]], None]:
    """Runs an armed guard for 1.2 s of its clock; once it moves at full speed, what is given happens."""

    def play(happens: Callable[[], None]) -> None:
        turns = 0
        process.guard.on_hello(Hello(process._bundle.digest, "cd" * 32, True, 0.0))
        process.guard.on_peers(True)

        def until() -> bool:
            nonlocal turns
            feed(process, process._clock, turns)
            if turns == 0:
                assert process.guard.arm() == ()
            if turns == 60:
                assert process.guard.state is State.ARMED
                happens()
            turns += 1
            return turns > 120

        process.run(until)

    return play


def assert_legal_stop(path: Path) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    speeds = np.array([np.hypot(line["values"]["x"], line["values"]["y"]) for line in lines])
    assert speeds.max() > 0.1
    assert speeds[-1] == 0
    seconds = np.diff([line["t_ns"] for line in lines]) / 1e9
    assert (-np.diff(speeds) <= DECELERATION * seconds + 1e-6).all()


def breaks(*_: object) -> None:
    raise RuntimeError("out of range")


def test_an_error_in_a_tick_ends_the_guard_and_the_robot_is_at_rest_before(
    process: GuardProcess, run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="out of range"):
        run(lambda: monkeypatch.setattr(process.report, "decided", breaks))
    assert_legal_stop(tmp_path / "commands.jsonl")
    assert not process.guard.publishing


def test_an_output_that_fails_ends_the_guard_and_the_others_bring_the_robot_to_rest(
    process: GuardProcess, run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.jsonl"
    until_then: list[str] = []

    def fail() -> None:
        until_then.append(other.read_text())
        monkeypatch.setattr(process._outputs._sinks[0], "publish", breaks)

    with pytest.raises(RuntimeError, match="out of range"):
        run(fail)
    assert_legal_stop(tmp_path / "commands.jsonl")
    assert [other.read_text()] == until_then
    assert not process.guard.publishing


def test_outputs_that_all_fail_end_the_guard_once_the_robot_would_be_at_rest(
    process: GuardProcess, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        for sink in process._outputs._sinks:
            monkeypatch.setattr(sink, "publish", breaks)

    with pytest.raises(RuntimeError, match="out of range"):
        run(fail)
    assert not process.guard.publishing


def test_a_file_of_commands_that_cannot_be_written_stops_no_robot(
    process: GuardProcess, run: Callable[..., None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, limits = tmp_path / "commands.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    half_a_line = 60

    run(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + half_a_line, limits[1])))
    assert process.guard.state is State.DISARMED
    assert f"{path}: a line was cut short; commands are missing there from now on" in caplog.text
    assert caplog.text.count(str(path)) == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for sink in process._outputs._sinks:
        sink.publish(Command(np.zeros(7), 5, 5))
    *_, cut, last = path.read_text().splitlines()
    assert not cut.endswith("}")
    assert json.loads(last)["seq"] == 5
    assert f"{path}: commands are written again" in caplog.text
