"""What goes into the journal, and that nothing waits for it."""

from __future__ import annotations

import logging
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from jetvla.services.journal import BUNDLE, EVENT, logging_for

UNDER_SYSTEMD = {"JOURNAL_STREAM": "8:1"}
log = logging.getLogger("jetvla.test_journal")


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a stand-in for systemd-python is sent."""
    sent: list[dict[str, Any]] = []
    package = ModuleType("systemd")
    package.journal = SimpleNamespace(send=lambda text, **fields: sent.append({"MESSAGE": text, **fields}))  # type: ignore[attr-defined]
    package.__spec__ = SimpleNamespace(name="systemd")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "systemd", package)
    return sent


def test_entries_carry_the_fields_of_the_daemon_and_their_own(entries: list[dict[str, Any]]) -> None:
    with logging_for("guard", UNDER_SYSTEMD) as fields:
        log.warning("before %d", 1)
        fields[BUNDLE] = "ab"
        log.error("link lost", extra={EVENT: "link_lost"})
    first, second = entries
    assert (first["MESSAGE"], first["PRIORITY"], first["SYSLOG_IDENTIFIER"]) == ("before 1", 4, "jetvla-guard")
    assert EVENT not in first
    assert (second["MESSAGE"], second["PRIORITY"], second[EVENT], second[BUNDLE]) == ("link lost", 3, "link_lost", "ab")


def test_without_a_journal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_for("guard", {}):
        log.info("link lost", extra={EVENT: "link_lost"})
    assert capsys.readouterr().err == "guard: link lost\n"


def test_a_journal_that_hangs_holds_nobody_up(entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(sys.modules["systemd"].journal, "send", lambda *_, **__: hangs.wait(60))
    with logging_for("guard", UNDER_SYSTEMD):
        for number in range(2000):
            log.info("line %d", number)
        assert not hangs.is_set()
        hangs.set()
