"""An audit log in a folder of its own, and events to put into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jetvla.runtime.audit.folder import files_of
from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event

BUNDLE, CONFIG = "ab" * 32, "cd" * 32


def fault(number: int) -> Event:
    """The ``number``-th fault of a guard, a second after the one before."""
    return Event(number * 10**9, "fault", f"number {number}", State.ARMED, "stale_frame", sent=(0.1, float("nan")))


def lines(folder: Path) -> list[dict[str, Any]]:
    """Every line of every file, in order."""
    return [json.loads(line) for path in files_of(folder) for line in path.read_text().splitlines()]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait a second for another try."""
    monkeypatch.setattr("jetvla.runtime.audit.log.RETRY_S", 0.02)
    monkeypatch.setattr("jetvla.runtime.audit.log.POLL_S", 0.005)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., AuditLog]]:
    """Opens the log of ``folder``; what a test leaves open is closed."""
    logs: list[AuditLog] = []

    def open_log(**settings: int) -> AuditLog:
        logs.append(AuditLog(folder, BUNDLE, CONFIG, **settings))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close(patience_s=0.1)
