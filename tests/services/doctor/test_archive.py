"""What a supporter gets, and what must never be in it."""

from __future__ import annotations

import errno
import json
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.errors import ConfigError, JetvlaError
from jetvla.runtime.keys import create_key_pair
from jetvla.services.cli import main
from jetvla.services.doctor.archive import write_archive
from jetvla.services.doctor.examination import examine
from jetvla.services.doctor.finding import Finding
from jetvla.services.doctor.redaction import Redaction
from jetvla.services.doctor.system import System
from jetvla.services.store.history import Entry, History
from jetvla.services.store.trial import Trial, write_trial

CONFIGURED = "water the purple orchid"
HELD = "polish the brass telescope"
JOURNALED = "fold the tartan blanket"
QUOTED = "feed the iguana at noon"
AUDITED = "hide the ruby necklace"
COMMENTED = "the door code is 4711 0815"
SENTENCES = (CONFIGURED, HELD, JOURNALED, QUOTED, AUDITED, COMMENTED)

JOURNAL = f"""\
2026-11-26T10:00:00+0000 robot jetvla-guard[12]: guard: scheduling: SCHED_FIFO priority 50
2026-11-26T10:00:01+0000 robot jetvla-guard[12]: guard: instruction: {JOURNALED}
2026-11-26T10:00:02+0000 robot jetvla-guard[12]: guard: heard "{QUOTED}" and 'front' works
2026-11-26T10:00:03+0000 robot jetvla-policy[13]: policy: now {HELD.upper()}, again {JOURNALED}!
2026-11-26T10:00:04+0000 robot systemd[1]: jetvla-policy.service: Watchdog timeout (limit 2s)!
"""
STATUS = {
    "state": "ARMED",
    "reason": "armed by the operator",
    "instruction": HELD,
    "ticks": 1317,
    "bundle": "ab" * 32,
    "events": [f"instruction: {HELD}", f"ARMED state: {QUOTED}", "STOPPED fault link_lost: the policy is gone"],
}


@pytest.fixture
def secretive(system: System, config: Path, answers: object) -> Path:
    """A configuration whose machine is full of what must stay there; the path of the private key beside it."""
    answers.known["journalctl"] = JOURNAL  # type: ignore[attr-defined]
    create_key_pair("robot", system.path("/etc/jetvla"))
    config.write_text(config.read_text() + f"instruction:\n  text: {CONFIGURED}  # {COMMENTED}\n")
    (config.parent / "run").mkdir()
    (config.parent / "run/status.json").write_text(json.dumps(STATUS))
    _audit(config.parent / "audit")
    (config.parent / "store").mkdir()
    config.write_text(config.read_text() + "store: store\n")
    History(config.parent / "store/history.jsonl").add(Entry("failed", "ab" * 32, 7, "robot", f"after {HELD}"))
    write_trial(Trial("ab" * 32, "2026-11-26T10:00:00+00:00"), config.parent / "store/trial.json")
    return system.path("/etc/jetvla/robot.key")


def _audit(folder: Path) -> None:
    log = AuditLog(folder, "ab" * 32, "cd" * 32)
    log._put({"kind": "fault", "t_ns": time.monotonic_ns(), "reason": f"stopped: {AUDITED}", "fault": "link_lost"})
    log._put({"kind": "said", "t_ns": time.monotonic_ns(), "instruction": AUDITED, "remark": AUDITED})
    log.close()


def contents(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as tar:
        return {m.name.removeprefix("jetvla/"): tar.extractfile(m).read().decode() for m in tar}  # type: ignore[union-attr]


def test_no_key_and_no_sentence_is_anywhere_in_it(
    system: System, config: Path, secretive: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "support.tar.gz"
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"rate_hz": 30.1, "stops": [f"instruction {QUOTED}"]}))
    # A key that came into the journal by mistake.
    system.ask.known["journalctl"] += secretive.read_text()  # type: ignore[attr-defined]
    write_archive(archive, config, examine(config, system), system, profile)
    parts = contents(archive)
    everything = "\n".join(parts.values()).lower()
    for sentence in SENTENCES:
        assert sentence.lower() not in everything, sentence
    body = secretive.read_text().splitlines()[1]
    assert len(body) > 40
    assert body.lower() not in everything
    assert "private key" not in everything.replace("private keys", "")
    with tarfile.open(archive) as tar:
        raw = b"".join(tar.extractfile(m).read() for m in tar)  # type: ignore[union-attr]
    assert body.encode() not in raw


def test_what_helps_is_in_it(system: System, config: Path, secretive: Path, tmp_path: Path) -> None:
    archive = tmp_path / "support.tar.gz"
    system.path("/etc/os-release").write_text('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    write_archive(archive, config, examine(config, system), system, None)
    parts = contents(archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert "scheduling: SCHED_FIFO priority 50" in parts["journal.txt"]
    assert "'front' works" in parts["journal.txt"]
    assert "Watchdog timeout (limit 2s)!" in parts["journal.txt"]
    status = json.loads(parts["status.json"])
    assert status["ticks"] == 1317
    assert status["events"][-1] == "STOPPED fault link_lost: the policy is gone"
    assert status["bundle"] == "ab" * 32
    assert "path: " + str(tmp_path / "clip.mp4") in parts["configuration.yaml"]
    audit = [json.loads(line) for line in parts["audit.jsonl"].splitlines()]
    assert [entry["kind"] for entry in audit] == ["file", "start", "fault", "said", "end"]
    assert audit[2]["fault"] == "link_lost"
    assert "reason" not in audit[2]
    (entry,) = [json.loads(line) for line in parts["history.jsonl"].splitlines()]
    assert (entry["what"], entry["version"], entry["detail"]) == ("failed", 7, "after (left out)")
    assert json.loads(parts["trial.json"])["digest"] == "ab" * 32
    versions = json.loads(parts["versions.json"])
    assert versions["packages"]["numpy"]
    assert versions["files"]["/etc/os-release"] == 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
    assert {f["what"] for f in json.loads(parts["findings.json"])["findings"]} >= {"python", "bundle", "private keys"}
    assert "Left out" in parts["README.txt"]


def test_where_nothing_can_be_written_the_reason_is_said(
    system: System, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tarfile, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(ConfigError, match=r"x\.tar\.gz cannot be written: Read-only file system; choose another FILE"):
        write_archive(tmp_path / "x.tar.gz", config, examine(config, system), system, None)


def test_a_wrong_configuration_is_not_packed(system: System, config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + f"instruction: {{ttl_s: {CONFIGURED}, secret: {QUOTED}}}\n")
    archive = tmp_path / "support.tar.gz"
    write_archive(archive, config, examine(config, system), system, None)
    parts = contents(archive)
    assert CONFIGURED not in "".join(parts.values())
    assert QUOTED not in "".join(parts.values())
    assert "its contents are left out" in parts["configuration.yaml"]
    assert "jetvla.yaml:" in parts["findings.json"]


def test_a_wrong_configuration_hides_nothing_else(
    system: System, config: Path, secretive: Path, tmp_path: Path
) -> None:
    """Status and audit log are looked for where they are by default."""
    config.write_text(config.read_text().replace("run_dir:", "rundir:"))
    (config.parent / "run").rename(system.path("/run-of-the-test"))
    system.path("/run").mkdir()
    system.path("/run-of-the-test").rename(system.path("/run/jetvla"))
    system.path("/var/log").mkdir(parents=True)
    (config.parent / "audit").rename(system.path("/var/log/jetvla"))
    system.ask.known["journalctl"] += f"robot jetvla-policy[1]: now {CONFIGURED}\n"  # type: ignore[attr-defined]
    archive = tmp_path / "support.tar.gz"
    write_archive(archive, config, examine(config, system), system, None)
    parts = contents(archive)
    assert json.loads(parts["status.json"])["ticks"] == 1317
    assert len(parts["audit.jsonl"].splitlines()) == 5
    everything = "\n".join(parts.values()).lower()
    assert [sentence for sentence in SENTENCES if sentence.lower() in everything] == []


def test_a_machine_without_anything_still_gives_an_archive(system: System, config: Path, tmp_path: Path) -> None:
    archive = tmp_path / "support.tar.gz"
    write_archive(archive, config, examine(config, system), system, None)
    parts = contents(archive)
    assert parts["journal.txt"] == "journalctl gives nothing; run it with sudo\n"
    assert parts["status.json"] == "not there: No such file or directory\n"
    assert parts["trial.json"] == "not there: No such file or directory\n"


def test_what_cannot_be_taken_out_stops_the_archive(
    system: System, config: Path, secretive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Redaction, "lines", lambda self, text: text)
    archive = tmp_path / "support.tar.gz"
    with pytest.raises(JetvlaError, match="none is written"):
        write_archive(archive, config, examine(config, system), system, None)
    assert not archive.exists()


def test_an_archive_that_cannot_be_written_is_named(system: System, config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_archive(tmp_path / "none/support.tar.gz", config, [], system, None)
    with pytest.raises(ConfigError, match="is not what 'jetvla profile --json' writes"):
        write_archive(tmp_path / "support.tar.gz", config, [], system, tmp_path / "none.json")


def test_the_command_packs_and_says_what(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "support.tar.gz"
    main(["doctor", "--config", str(config), "--archive", str(archive)])
    assert f"{archive}: README.txt, findings.json" in capsys.readouterr().out
    assert "findings.json" in contents(archive)


@pytest.mark.parametrize("quote", [repr, json.dumps, str])
def test_a_sentence_with_both_kinds_of_quotes_is_left_out(
    system: System, config: Path, secretive: Path, tmp_path: Path, quote: Callable[[str], str]
) -> None:
    said, heard = """don't drop the "blue" vase, it's mine""", """it's the "green" lamp of Anne's"""
    status = {**STATUS, "instruction": said}
    (config.parent / "run/status.json").write_text(json.dumps(status))
    lines = f"robot jetvla-policy[1]: now {quote(said)}\nrobot jetvla-policy[1]: heard {heard!r} and took it\n"
    system.ask.known["journalctl"] += lines  # type: ignore[attr-defined]
    archive = tmp_path / "support.tar.gz"
    write_archive(archive, config, examine(config, system), system, None)
    everything = "\n".join(contents(archive).values())
    for word in ("drop the", "blue", "vase", "mine", "green", "lamp", "Anne"):
        assert word not in everything, word
    assert "heard (left out) and took it" in everything


def test_a_private_key_that_cannot_be_read_stops_the_archive_in_words(
    system: System, config: Path, secretive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.read_text

    def closed(path: Path, *arguments: Any, **options: Any) -> str:
        if path == secretive:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", closed)
    with pytest.raises(ConfigError, match=r"robot\.key cannot be read \(Permission denied\).*run it with sudo"):
        write_archive(tmp_path / "support.tar.gz", config, [], system, None)
    assert not (tmp_path / "support.tar.gz").exists()


@pytest.mark.parametrize("sentence", ["look at it before you send it", "Power Mode", "left out", "run it with sudo"])
def test_a_sentence_that_the_archives_own_words_hold_stops_nothing(
    jetson: System, config: Path, tmp_path: Path, sentence: str
) -> None:
    config.write_text(config.read_text() + f"instruction:\n  text: {sentence}\n")
    archive = tmp_path / "support.tar.gz"
    write_archive(archive, config, examine(config, jetson), jetson, None)
    parts = contents(archive)
    assert "look at it before you send it" in parts.pop("README.txt")
    assert sentence.lower() not in "".join(parts.values()).replace("(left out)", "").lower()


def test_a_remedy_is_cleaned_like_its_finding(system: System, config: Path, secretive: Path, tmp_path: Path) -> None:
    archive = tmp_path / "support.tar.gz"
    finding = Finding("camera front", False, "away", f"tell it to {CONFIGURED} again")
    write_archive(archive, config, [finding], system, None)
    (packed,) = json.loads(contents(archive)["findings.json"])["findings"]
    assert packed["remedy"] == "tell it to (left out) again"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("guard: instruction: pick up the cup", "guard: instruction (left out)"),
        ("heard 'pick up the cup' now", "heard (left out) now"),
        (
            "camera 'front' (/dev/video0): its driver's time stamp",
            "camera 'front' (/dev/video0): its driver's time stamp",
        ),
        ("digest " + "ab" * 32, "digest " + "ab" * 32),
        ("/var/cache/jetvla/engines/" + "ab" * 32, "/var/cache/jetvla/engines/" + "ab" * 32),
        ("MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/cGguyXM9mXc3TaVvAtqyBiNtbnV7T8qu2qL", "(left out)"),
        ("-----BEGIN PRIVATE KEY----- abc", "(left out)"),
    ],
)
def test_a_line_of_free_text(text: str, left: str) -> None:
    assert Redaction().line(text) == left
