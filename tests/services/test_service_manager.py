"""What the service manager is told, and when it is told nothing."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.contracts import ActionChunk
from jetvla.runtime.link.protocol import Idle, IdleReason, StageTimes
from jetvla.runtime.policy.loop import Turn
from jetvla.services.policy_progress import PolicyProgress
from jetvla.services.service_manager import INSTALL, Notifier, Systemd, Unmanaged, find_manager, watchdog_ns

SECOND_NS = 1_000_000_000


class Told:
    """A manager that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def notify(self, message: str) -> None:
        self.messages.append(message)

    def pings(self) -> int:
        return sum("WATCHDOG=1" in message for message in self.messages)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def notifier(told: Told, clock: FakeClock) -> Notifier:
    return Notifier(told, clock, watchdog=2 * SECOND_NS)


@pytest.fixture
def progress(notifier: Notifier, clock: FakeClock) -> PolicyProgress:
    return PolicyProgress(notifier, "null 1", "ab" * 32, clock)


def turn(value: float | None = None, idle: Idle | None = None) -> Turn:
    chunk = None
    if value is not None:
        actions = np.array([[value, 0.0]], np.float32)
        chunk = ActionChunk(actions, t0_ns=0, dt_ns=1, instruction_id=1, bundle="ab" * 32, seq=0)
    return Turn(chunk, idle, StageTimes(), 0, 30_000_000)


def test_progress_is_told_four_times_in_the_time_that_the_watchdog_allows(
    notifier: Notifier, told: Told, clock: FakeClock
) -> None:
    for _ in range(201):
        notifier.progress()
        clock.advance(0.01)
    assert told.messages == ["WATCHDOG=1"] * 5


def test_silence_is_never_filled(notifier: Notifier, told: Told, clock: FakeClock) -> None:
    notifier.ready("there")
    clock.advance(60)
    notifier.status("still there")
    assert told.messages == ["READY=1\nSTATUS=there\nWATCHDOG=1", "STATUS=still there"]


def test_a_status_is_one_line_and_not_told_twice(notifier: Notifier, told: Told, clock: FakeClock) -> None:
    for text in ("a\nREADY=0", "a\nREADY=0", "b"):
        notifier.status(text)
    assert told.messages == ["STATUS=a READY=0"]
    clock.advance(0.5)
    notifier.status("b")
    assert told.messages[1:] == ["STATUS=b"]


def test_a_slow_start_asks_for_time(notifier: Notifier, told: Told) -> None:
    notifier.lasting("building 4/8: fp16", 900.0)
    assert told.messages == ["STATUS=building 4/8: fp16\nEXTEND_TIMEOUT_USEC=900000000"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_chunks_that_are_not_finite_earn_no_life_and_show(
    progress: PolicyProgress, told: Told, clock: FakeClock, value: float
) -> None:
    for _ in range(100):
        progress(turn(value))
        clock.advance(0.1)
    assert told.pings() == 0
    assert "NOT FINITE" in told.messages[-1]


def test_a_late_frame_earns_nothing_by_itself(progress: PolicyProgress, told: Told) -> None:
    progress(turn())
    assert told.messages == []


def test_finite_chunks_an_honest_idle_and_a_missing_guard_are_progress(
    progress: PolicyProgress, told: Told, clock: FakeClock
) -> None:
    progress(turn(0.5))
    assert told.pings() == 1
    clock.advance(1)
    progress(turn(idle=Idle(IdleReason.NO_CAMERA, "front is away")))
    assert told.pings() == 2
    assert "idle, no camera: front is away" in told.messages[-1]
    clock.advance(1)
    progress.waiting("nobody listens")
    assert told.pings() == 3
    assert "waits for the guard: nobody listens" in told.messages[-1]


def test_the_policy_tells_its_rate_and_the_age_of_its_answers(
    progress: PolicyProgress, told: Told, clock: FakeClock
) -> None:
    for _ in range(40):
        progress(turn(0.5))
        clock.advance(0.05)
    statuses = [message for message in told.messages if message.startswith("STATUS=")]
    assert re.search(r"acts; \d\d\.\d chunks/s, p99 30 ms; null 1; bundle abab", statuses[-1])


def test_time_without_chunks_is_no_part_of_their_rate(progress: PolicyProgress, told: Told, clock: FakeClock) -> None:
    for _ in range(100):
        progress(turn(idle=Idle(IdleReason.NO_INSTRUCTION)))
        clock.advance(1)
    rates = []
    for _ in range(41):
        progress(turn(0.5))
        clock.advance(0.05)
        rates += re.findall(r"acts; (?:(.*) chunks/s, )?p99", told.messages[-1])
    assert rates[0] == ""
    assert {rate for rate in rates if rate} == {"20.0"}


def test_nobody_listens_outside_of_systemd() -> None:
    assert isinstance(find_manager({}), Unmanaged)
    assert watchdog_ns({}) is None


def test_without_its_library_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jetvla.services.service_manager.find_spec", lambda name: None)
    assert isinstance(find_manager({"NOTIFY_SOCKET": "/run/systemd/notify"}), Unmanaged)
    assert [INSTALL in record.message for record in caplog.records] == [True]


def test_with_it_messages_go_there(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    package = ModuleType("systemd")
    package.daemon = SimpleNamespace(notify=told.append)  # type: ignore[attr-defined]
    package.__spec__ = SimpleNamespace(name="systemd")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "systemd", package)
    manager = find_manager({"NOTIFY_SOCKET": "/run/systemd/notify"})
    assert isinstance(manager, Systemd)
    manager.notify("READY=1")
    assert told == ["READY=1"]


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    assert watchdog_ns({"WATCHDOG_USEC": "2000000"}) == 2 * SECOND_NS
    assert watchdog_ns({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}) == 2 * SECOND_NS
    assert watchdog_ns({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}) is None


def test_the_real_library_reaches_a_real_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("systemd.daemon", reason="needs systemd-python: apt install python3-systemd")
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        Systemd().notify("STATUS=here")
        assert listener.recv(100) == b"STATUS=here"
