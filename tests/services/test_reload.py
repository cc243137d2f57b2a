"""What a reload takes over, what it refuses, and what it only names."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.telemetry.status import Status, write_status
from jetvla.services.reload import LIVE, Reloader, changed, main, taken_over

PATIENCE_S = 30.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    path = tmp_path / "jetvla.yaml"
    write(path)
    return path


def write(path: Path, **sections: Any) -> None:
    settings: dict[str, Any] = {
        "bundle": "bundle",
        "run_dir": "run",
        "cameras": {"front": {"kind": "frames", "path": "pictures"}},
        "guard": {"outputs": [{"kind": "log", "path": "commands.jsonl"}]},
    }
    path.write_text(yaml.safe_dump(settings | sections))


def report(config: Config, state: str) -> None:
    nothing: dict[str, Any] = {"reason": "", "bundle": "", "instruction": None, "policy": "", "scheduling": ""}
    write_status(
        Status(written_ns=0, pid=1, state=state, ticks=0, chunks=0, stages={}, counts={}, events=[], **nothing),
        config.status,
    )


@pytest.fixture
def reloader(file: Path) -> Iterator[Reloader]:
    former = signal.getsignal(signal.SIGHUP)
    yield Reloader(file, load_config(file), lambda: None, lambda: None)
    signal.signal(signal.SIGHUP, former)


def said(caplog: pytest.LogCaptureFixture, words: str) -> str:
    """The line that holds ``words``, once it is there."""
    give_up = time.monotonic() + PATIENCE_S
    while not (lines := [line for line in caplog.messages if words in line]):
        assert time.monotonic() < give_up, caplog.messages
        time.sleep(0.01)
    return lines[0]


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_a_right_file_is_taken_over_where_it_can_and_the_rest_is_named(
    file: Path, reloader: Reloader, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, instruction={"stop_words": ["basta"], "topic": "/other"}, policy={"rate_hz": 5})
    signal.raise_signal(signal.SIGHUP)
    assert said(caplog, "reloaded:") == "reloaded: instruction.stop_words, policy.rate_hz"
    assert said(caplog, "only a restart").endswith(": instruction.topic")
    config = None
    while config is None:
        config = reloader.take()
    assert config.instruction.stop_words == ("basta",)
    assert config.policy.rate_hz == 5
    assert config.instruction.topic == "/voice_command"
    assert reloader.take() is None


@pytest.mark.parametrize(("sections", "says"), [({"speed": 1}, "speed: unknown key"), ({"run_dir": 7}, "run_dir")])
def test_a_wrong_file_changes_nothing(
    file: Path, reloader: Reloader, caplog: pytest.LogCaptureFixture, sections: dict[str, Any], says: str
) -> None:
    write(file, policy={"rate_hz": 5}, **sections)
    signal.raise_signal(signal.SIGHUP)
    assert says in said(caplog, "the former configuration holds")
    assert reloader.take() is None
    write(file, policy={"rate_hz": 6})
    signal.raise_signal(signal.SIGHUP)
    said(caplog, "reloaded: policy.rate_hz")


@pytest.mark.parametrize("state", ["ARMED", "STOPPING"])
def test_it_is_refused_while_the_robot_may_move(
    file: Path, reloader: Reloader, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    report(load_config(file), state)
    write(file, policy={"rate_hz": 5})
    signal.raise_signal(signal.SIGHUP)
    said(caplog, "the robot is armed; disarm it first")
    assert reloader.take() is None


def test_the_service_manager_is_told_of_both_ends_whatever_comes_of_it(file: Path) -> None:
    told: list[str] = []
    former = signal.getsignal(signal.SIGHUP)
    try:
        Reloader(file, load_config(file), lambda: told.append("began"), lambda: told.append("ended"))
        file.write_text("{")
        signal.raise_signal(signal.SIGHUP)
        give_up = time.monotonic() + PATIENCE_S
        while told != ["began", "ended"]:
            assert time.monotonic() < give_up
    finally:
        signal.signal(signal.SIGHUP, former)


def test_only_what_is_live_is_taken_over_and_each_of_it_is(file: Path) -> None:
    old = load_config(file)
    write(file, instruction={"stop_words": ["x"], "max_chars": 7, "ttl_s": 3}, policy={"rate_hz": 5, "threads": 2})
    new = load_config(file)
    assert changed(old, taken_over(old, new)) == LIVE
    assert changed(taken_over(old, new), new) == ("instruction.ttl_s", "policy.threads")


@pytest.fixture
def signals() -> Iterator[list[int]]:
    got: list[int] = []
    former = signal.signal(signal.SIGHUP, lambda number, _: got.append(number))
    yield got
    signal.signal(signal.SIGHUP, former)


def ask(file: Path) -> int:
    return main(["--config", str(file), "--pid", str(os.getpid())])


def test_the_command_tells_the_daemon(file: Path, signals: list[int]) -> None:
    assert ask(file) == 0
    assert signals == [signal.SIGHUP]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda file: write(file, speed=1), "speed: unknown key"),
        (lambda file: report(load_config(file), "ARMED"), "the robot is armed"),
    ],
)
def test_the_command_refuses_what_the_daemon_would(
    file: Path,
    signals: list[int],
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    says: str,
) -> None:
    spoil(file)
    assert ask(file) == 1
    assert says in capsys.readouterr().err
    assert signals == []


def test_the_audit_log_tells_under_which_configuration_each_line_was_written(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, "b" * 64, "1" * 64)
    log.configured("2" * 64)
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "audit-00000001.jsonl").read_text().splitlines()]
    found = [(line["kind"], line["config"][0]) for line in lines if "config" in line]
    assert found == [("start", "1"), ("reload", "2"), ("end", "2")]
