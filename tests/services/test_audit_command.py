"""``jetvla audit``, and the audit log of a guard process."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from jetvla.runtime.audit.folder import files_of
from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.clock import FakeClock
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event
from jetvla.services.cli import main
from jetvla.services.guard_report import GuardReport

EVENTS = (
    Event(10**9, "state", "armed by the operator", State.ARMED),
    Event(2 * 10**9, "clip", "beyond velocity: x", State.ARMED, raw=(0.5, 0.0), sent=(0.25, 0.0)),
    Event(3 * 10**9, "fault", "1.2 s old", State.ARMED, "stale_frame"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    log = AuditLog(tmp_path / "audit", "ab" * 32, "cd" * 32)
    log.take(EVENTS)
    log.close()
    return tmp_path / "audit"


def test_a_whole_log_is_said_to_be_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", str(folder)]) == 0
    assert "6 lines in 1 files" in capsys.readouterr().out


def test_a_changed_line_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = files_of(folder)
    path.write_bytes(path.read_bytes().replace(b'"raw":[0.5,', b'"raw":[0.2,'))
    for target in (folder, path):
        assert main(["audit", "verify", str(target)]) == 1
        shown = capsys.readouterr().out
        assert f"{path}:4: is not the line" in shown
        assert "NOT whole: 1 findings" in shown


def test_show_prints_what_happened(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "show", str(folder), "--since", "10m"]) == 0
    shown = capsys.readouterr().out
    assert "ARMED clip: beyond velocity: x, raw [0.5 0], sent [0.25 0]" in shown
    assert "ARMED fault stale_frame: 1.2 s old" in shown
    assert main(["audit", "show", str(folder), "--kind", "state", "--json"]) == 0
    assert [json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines()] == ["armed by the operator"]
    assert main(["audit", "show", str(folder), "--since", "2999-01-01"]) == 0
    assert capsys.readouterr().out == ""


def test_kinds_are_listed_to_whoever_misspells_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "show", str(folder), "--kind", "bogus"]) == 1
    assert "--kind 'bogus': there is no such kind; the kinds are state, fault, cleared" in capsys.readouterr().err
    assert main(["audit", "show", str(folder), "--kind", "start"]) == 0
    assert "start: pid " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["verify", "nowhere"],
            "nowhere: cannot be read: No such file or directory; is it the folder of the audit log",
        ),
        (["verify", "."], "holds no audit log"),
        (["show", "nowhere"], "nowhere: cannot be read: No such file or directory; is it the folder of the audit log?"),
        (["show", "."], "holds no audit log: no file is called audit-00000001.jsonl"),
        (["show", "jetvla.yaml"], "jetvla.yaml holds no line of an audit log; see 'jetvla audit verify jetvla.yaml'"),
        (["show", ".", "--since", "yesterday"], "neither like 10m"),
        (["verify", "--config", "jetvla.yaml"], "keeps no audit log; set telemetry.audit"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"bundle": "bundle", "cameras": {"front": {"kind": "frames", "path": "pictures"}}}
    Path("jetvla.yaml").write_text(yaml.safe_dump(settings))
    assert main(["audit", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_the_configured_folder_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = folder.parent / "jetvla.yaml"
    settings = {
        "bundle": "bundle",
        "cameras": {"front": {"kind": "frames", "path": "pictures"}},
        "telemetry": {"audit": "audit"},
    }
    config.write_text(yaml.safe_dump(settings))
    assert main(["audit", "verify", "--config", str(config)]) == 0
    assert str(folder) in capsys.readouterr().out


def test_a_log_that_cannot_be_written_is_reported_once(tmp_path: Path) -> None:
    report = GuardReport(FakeClock(), "ab" * 32)
    (tmp_path / "audit").write_text("a file where the folder should be")
    with report.auditing(tmp_path / "audit", "cd" * 32):
        report.events(EVENTS)
        for _ in range(500):
            status = report.status(State.ARMED, None)
            if status.audit and status.audit["problem"]:
                break
            time.sleep(0.01)
        report.status(State.ARMED, None)
        assert len([e for e in report.status(State.ARMED, None).events if "cannot write" in e]) == 1
        (tmp_path / "audit").unlink()
    assert main(["audit", "verify", str(tmp_path / "audit")]) == 0
