"""What goes into the journal, and that nothing waits for it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from jetvla.services.journal import BUNDLE, EVENT, DaemonLog

# Much more than a pipe holds.
SPEAKS = """
import logging, sys
from jetvla.services.journal import DaemonLog

with DaemonLog("guard", {}) as log:
    for _ in range(2000):
        logging.getLogger("jetvla.guard").info("x" * 100)
    log.status = int(sys.argv[1])
    if sys.argv[2:]:
        raise RuntimeError
sys.exit(log.status)
"""
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
    with DaemonLog("guard", UNDER_SYSTEMD) as daemon_log:
        log.warning("before %d", 1)
        daemon_log.fields[BUNDLE] = "ab"
        log.error("link lost", extra={EVENT: "link_lost"})
    first, second = entries
    assert (first["MESSAGE"], first["PRIORITY"], first["SYSLOG_IDENTIFIER"]) == ("before 1", 4, "jetvla-guard")
    assert EVENT not in first
    assert (second["MESSAGE"], second["PRIORITY"], second[EVENT], second[BUNDLE]) == ("link lost", 3, "link_lost", "ab")


def test_without_a_journal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with DaemonLog("guard", {}):
        log.info("link lost", extra={EVENT: "link_lost"})
    assert capsys.readouterr().err == "guard: link lost\n"


def test_a_journal_that_hangs_holds_nobody_up(entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    monkeypatch.setattr(sys.modules["systemd"].journal, "send", lambda *_, **__: hangs.wait(60))
    with DaemonLog("guard", UNDER_SYSTEMD):
        for number in range(2000):
            log.info("line %d", number)
        assert not hangs.is_set()
        hangs.set()


@pytest.mark.parametrize(("words", "status"), [(["0"], 0), (["1"], 1), (["0", "fails"], 1)])
def test_a_terminal_that_takes_no_more_holds_up_no_end(words: list[str], status: int) -> None:
    with subprocess.Popen([sys.executable, "-c", SPEAKS, *words], stderr=subprocess.PIPE) as process:
        assert process.wait(120) == status


def test_all_that_was_said_is_written_before_the_end() -> None:
    ran = subprocess.run([sys.executable, "-c", SPEAKS, "1"], capture_output=True, text=True, timeout=120)
    assert (ran.stderr.count("guard: xxx"), ran.returncode) == (2000, 1)


def test_an_entry_that_the_journal_cannot_take_is_not_the_last(
    entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sys.modules["systemd"].journal.send

    def send(text: str, **fields: Any) -> None:
        if text == "bad":
            raise ValueError(text)
        real(text, **fields)

    monkeypatch.setattr(sys.modules["systemd"].journal, "send", send)
    with DaemonLog("guard", UNDER_SYSTEMD):
        log.info("bad")
        log.info("good")
    assert [entry["MESSAGE"] for entry in entries] == ["good"]
