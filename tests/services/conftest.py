"""A policy daemon, its place on disk and a guard's socket, for tests of the policy process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from jetvla.runtime.link.protocol import Message
from jetvla.runtime.link.server import GuardLink, LinkLost

from .browser import Browser
from .bundles import Maker

# Only for a test that would otherwise hang; nothing here measures speed.
PATIENCE_S = 60.0


@pytest.fixture
def place(signed_bundle: Path) -> Path:
    """A folder with a signed bundle, the key that is trusted, and room for a configuration."""
    (signed_bundle.parent / "run").mkdir()
    return signed_bundle.parent


def _configured(place: Path, **sections: Any) -> Path:
    settings: dict[str, Any] = {
        "bundle": "bundle",
        "trusted": "keys",
        "run_dir": "run",
        "cameras": {"front": {"kind": "frames", "path": "pictures", "fps": 50, "loop": True}},
        "instruction": {"text": "pick up the red block"},
        "guard": {"outputs": [{"kind": "log", "path": "commands.jsonl"}]},
    }
    path = place / "jetvla.yaml"
    path.write_text(yaml.safe_dump(settings | sections), encoding="utf-8")
    return path


@pytest.fixture
def configured(place: Path) -> Callable[..., Path]:
    """Writes a configuration, with these sections in place of its own."""
    return partial(_configured, place)


class FakeGuard:
    """Listens where the guard would, and keeps all that comes."""

    def __init__(self, place: Path) -> None:
        self._link = GuardLink(place / "run" / "policy.sock", {os.getuid()})
        self.events: list[Message | LinkLost] = []

    def wait_for(self, enough: Callable[[], object]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not enough():
            assert time.monotonic() < give_up, f"waited in vain; got {self.events[-5:]}"
            self.events += self._link.poll()
            time.sleep(0.005)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def close(self) -> None:
        self._link.close()


@pytest.fixture
def make_guard(place: Path) -> Iterator[Callable[[], FakeGuard]]:
    guards: list[FakeGuard] = []

    def make() -> FakeGuard:
        guards.append(FakeGuard(place))
        return guards[-1]

    yield make
    for guard in guards:
        guard.close()


@pytest.fixture
def guard(make_guard: Callable[[], FakeGuard]) -> FakeGuard:
    return make_guard()


class Daemon:
    """The policy daemon; its output is kept in a file."""

    def __init__(self, config: Path) -> None:
        self.log = config.with_name("policy.log")
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jetvla.services.policy_daemon", "--config", str(config)],
                stderr=output,
                stdout=output,
            )

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def start() -> Iterator[Callable[[Path], Daemon]]:
    daemons: list[Daemon] = []

    def begin(config: Path) -> Daemon:
        daemons.append(Daemon(config))
        return daemons[-1]

    yield begin
    for daemon in daemons:
        daemon.process.kill()
        daemon.process.wait()


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Makes signed bundles."""
    return Maker(tmp_path)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One tab for all tests of a module."""
    running = Browser(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()
