"""Both daemons under a service manager that the test plays: what it is told, in which order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_policy_process import pictures

PATIENCE_S = 60.0
# Stands in for systemd-python, which PyPI does not have for every machine.
LIBRARY = """\
import os, socket

def notify(message):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(message.encode(), os.environ["NOTIFY_SOCKET"])
"""
Start = Callable[[str], "Managed"]


class Managed:
    """One daemon, and all that it told."""

    def __init__(self, name: str, config: Path) -> None:
        place = config.parent
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(place / f"{name}.notify"))
        self._socket.setblocking(False)
        self.told: list[str] = []
        self.log = place / f"{name}.log"
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(place / f"{name}.notify"),
            "WATCHDOG_USEC": "2000000",
            "PYTHONPATH": os.pathsep.join([str(place / "library"), *sys.path]),
        }
        environment.pop("WATCHDOG_PID", None)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"jetvla.services.{name}_daemon", "--config", str(config)],
                env=environment,
                stderr=log,
            )

    def until(self, words: str, since: int = 0) -> None:
        """Wait for a message with ``words`` among those after the first ``since``."""
        give_up = time.monotonic() + PATIENCE_S
        while not any(words in message for message in self.told[since:]):
            assert time.monotonic() < give_up, (words, self.told[-5:], self.log.read_text())
            self._hear()

    def _hear(self) -> None:
        try:
            self.told.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            time.sleep(0.01)

    def end(self) -> int:
        """A manager that does not read holds up who tells it."""
        self.process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < give_up, self.log.read_text()
            self._hear()
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._socket.close()


@pytest.fixture
def start(place: Path, configured: Callable[..., Path]) -> Iterator[Start]:
    pictures(place / "pictures")
    library = place / "library/systemd"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    (library / "daemon.py").write_text(LIBRARY)
    config = configured()
    daemons: list[Managed] = []

    def begin(name: str) -> Managed:
        daemons.append(Managed(name, config))
        return daemons[-1]

    yield begin
    for daemon in daemons:
        daemon.close()


def change(place: Path, **sections: Any) -> None:
    path = place / "jetvla.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | sections))


def test_both_say_when_they_are_ready_go_on_and_end(start: Start) -> None:
    guard, policy = start("guard"), start("policy")
    guard.until("READY=1")
    policy.until("READY=1\nSTATUS=golden self-test passed")
    policy.until("STATUS=acts;")
    guard.until("policy sends chunks;")
    for daemon in (guard, policy):
        daemon.until("WATCHDOG=1", since=len(daemon.told))
    assert policy.end() == 0
    guard.until("policy lost: ")
    assert guard.end() == 0
    for daemon in (guard, policy):
        daemon.until("STOPPING=1", since=1)
        assert ["READY=1" in message for message in daemon.told].count(True) == 1


def test_a_policy_without_a_guard_is_ready_and_waits_without_being_taken_for_hung(start: Start) -> None:
    policy = start("policy")
    policy.until("STATUS=waits for the guard: ")
    policy.until("WATCHDOG=1", since=len(policy.told))


def test_a_guard_that_cannot_listen_is_never_ready(start: Start, place: Path) -> None:
    (place / "run/policy.sock").write_text("in the way")
    guard = start("guard")
    assert guard.process.wait(PATIENCE_S) == 1
    assert "is not a socket" in guard.log.read_text()
    with pytest.raises(BlockingIOError):
        guard._socket.recv(4096)


@pytest.mark.parametrize("name", ["guard", "policy"])
def test_a_reload_is_told_and_done(start: Start, place: Path, name: str) -> None:
    daemon = start(name)
    daemon.until("READY=1")
    for sections, says in (
        (
            {"instruction": {"text": "pick up the red block", "stop_words": ["basta"]}},
            "reloaded: instruction.stop_words",
        ),
        ({"speed": 1}, "the former configuration holds"),
    ):
        before = len(daemon.told)
        change(place, **sections)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.until("RELOADING=1", since=before)
        daemon.until("READY=1", since=before)
        assert says in daemon.log.read_text()
    assert daemon.end() == 0
