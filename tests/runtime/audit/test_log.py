"""The audit log: what stands in it, and what happens when it cannot be written."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetvla.runtime.audit.folder import files_of
from jetvla.runtime.audit.log import FLOOD_BURST, AuditLog
from jetvla.runtime.audit.verify import verify
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event

from .conftest import BUNDLE, CONFIG, fault, lines

Start = Callable[..., AuditLog]


def within(seconds: float, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_line_holds_everything_of_the_event(start: Start, folder: Path) -> None:
    log = start()
    log.take([Event(7, "clip", "too fast", State.ARMED, "", raw=(0.5, float("inf")), sent=(0.25, 0.0))])
    log.close()
    first, began, line, ended = lines(folder)
    assert [first["kind"], began["kind"], ended["kind"]] == ["file", "start", "end"]
    assert line.pop("wall").startswith("20")
    assert len(line.pop("prev")) == 64
    assert line == {
        "seq": 2,
        "t_ns": 7,
        "kind": "clip",
        "state": "ARMED",
        "fault": "",
        "reason": "too fast",
        "raw": [0.5, "inf"],
        "sent": [0.25, 0.0],
        "bundle": BUNDLE,
        "config": CONFIG,
    }


def test_the_chain_goes_on_over_rotation_and_over_a_new_start(start: Start, folder: Path) -> None:
    for _ in range(2):
        log = start(max_bytes=4000, max_files=50)
        log.take(map(fault, range(60)))
        assert log.close().waiting == 0
    report = verify(folder)
    assert report.findings == []
    assert report.files > 3
    assert [e["reason"] for e in lines(folder) if e["kind"] == "fault"] == [f"number {i}" for i in range(60)] * 2
    assert all(path.stat().st_size <= 4000 for path in files_of(folder))


def test_rotation_keeps_a_bounded_number_of_files(start: Start, folder: Path) -> None:
    log = start(max_bytes=2000, max_files=3)
    log.take(map(fault, range(100)))
    log.close()
    assert len(files_of(folder)) == 3
    report = verify(folder, max_files=3)
    assert report.findings == []
    assert "what came before is not here" in report.notes[0]
    assert lines(folder)[-2]["reason"] == "number 99"


@pytest.mark.parametrize("cut", [1, 30, -1])
def test_a_torn_last_line_is_told_apart_noted_and_kept(start: Start, folder: Path, cut: int) -> None:
    start().close()
    (path,) = files_of(folder)
    torn = b'{"seq":3,"prev":"' + b"ef" * 32 + b'","kind":"fault"}'
    with path.open("ab") as file:
        file.write(torn[:cut])
    report = verify(folder)
    assert report.findings == []
    assert any("torn last line" in note for note in report.notes)
    log = start()
    log.take([fault(1)])
    log.close()
    assert verify(folder).findings == []
    assert torn[:cut] in path.read_bytes()
    assert lines_of_kind(path, "torn")[0]["bytes"] == len(torn[:cut])


def lines_of_kind(path: Path, kind: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines() if f'"kind":"{kind}"' in line]


def test_a_whole_last_line_without_its_line_feed_is_no_loss(start: Start, folder: Path) -> None:
    start().close()
    (path,) = files_of(folder)
    os.truncate(path, path.stat().st_size - 1)
    start().close()
    assert verify(folder).findings == []
    assert lines_of_kind(path, "torn") == []


def test_a_cut_tail_is_found_before_and_after_the_next_start(start: Start, folder: Path) -> None:
    log = start()
    log.take(map(fault, range(10)))
    log.close()
    (path,) = files_of(folder)
    kept = path.read_bytes().splitlines(keepends=True)[:-4]
    path.write_bytes(b"".join(kept))
    (finding,) = verify(folder).findings
    assert finding.line == len(kept) + 1
    assert "truncated: 4 lines" in finding.what
    start().close()
    (finding,) = verify(folder).findings
    assert (finding.line, "4 lines" in finding.what) == (len(kept) + 1, True)


def test_a_flood_is_bounded_and_its_count_is_there(start: Start, folder: Path) -> None:
    log = start()
    flood = [Event(10**9, "clip", "too fast", State.ARMED)] * 5000
    log.take([*flood, Event(10**9, "state", "armed", State.ARMED), fault(1)])
    assert log.close().suppressed == 5000 - FLOOD_BURST
    written = [e["kind"] for e in lines(folder)]
    assert written.count("clip") == FLOOD_BURST
    assert written.count("state") == written.count("fault") == 1
    (suppressed,) = (e for e in lines(folder) if e["kind"] == "suppressed")
    assert (suppressed["of"], suppressed["count"]) == ("clip", 5000 - FLOOD_BURST)


def test_in_shadow_a_clip_a_second_is_enough(start: Start, folder: Path) -> None:
    log = start()
    seconds = 300
    for state in (State.DISARMED, State.ARMED):
        log.take(Event(i * 10**8, "clip", "too fast", state) for i in range(10 * seconds))
    log.close()
    written = [e["state"] for e in lines(folder) if e["kind"] == "clip"]
    assert written.count("ARMED") == 10 * seconds
    assert written.count("DISARMED") == pytest.approx(FLOOD_BURST * 10 / 9 + seconds, abs=15)


def test_what_cannot_be_written_is_counted_and_the_log_says_so_when_it_can_again(start: Start, folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    log = start(queue=10)
    log.take(map(fault, range(100)))
    within(60, lambda: "cannot write" in log.status().problem)
    assert log.status().lost == 91  # the line of the start waits too
    folder.unlink()
    within(60, lambda: log.status().problem == "")
    log.take([fault(100)])
    log.close()
    assert [e["reason"] for e in lines(folder) if e["kind"] == "fault"] == [
        *(f"number {i}" for i in range(9)),
        "number 100",
    ]
    (lost,) = (e for e in lines(folder) if e["kind"] == "lost")
    assert lost["count"] == 91
    report = verify(folder)
    assert report.findings == []
    assert any("91 lines could not be written" in note for note in report.notes)


FULL_DISK = """
import resource, signal, sys, time
from pathlib import Path
from typing import Any
from jetvla.runtime.audit import log as module
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event
module.RETRY_S = 0.02
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
log = module.AuditLog(Path(sys.argv[1]), "ab" * 32, "cd" * 32, queue=20)
number = 0
while log.status().lost < 50:
    log.take([Event(number * 10**9, "fault", "it", State.ARMED, "stall")])
    number += 1
    time.sleep(0.001)
assert "File too large" in log.status().problem, log.status()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
while log.status().problem:
    time.sleep(0.01)
log.take([])
print(number, log.close().lost)
"""


def test_a_full_disk_loses_lines_but_not_the_chain(folder: Path) -> None:
    run = subprocess.run([sys.executable, "-c", FULL_DISK, folder], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    number, lost = map(int, run.stdout.split())
    assert verify(folder).findings == []
    assert len([e for e in lines(folder) if e["kind"] == "fault"]) == number - lost
    assert sum(e["count"] for e in lines(folder) if e["kind"] == "lost") == lost


def test_a_writer_that_hangs_holds_nobody_up(start: Start, folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / "audit-00000001.jsonl")  # to open it waits for ever
    log = start(queue=100)
    log.take(map(fault, range(1000)))
    assert log.status().lost == 901
    assert log.close(patience_s=0.05).lost == 1002, "the first and the last line are lost too"
    # Lets the thread go.
    os.close(os.open(folder / "audit-00000001.jsonl", os.O_RDWR | os.O_NONBLOCK))


def test_a_second_writer_of_the_same_folder_says_so(start: Start, folder: Path) -> None:
    first = start()
    within(60, lambda: first.status().written == 1)
    second = start()
    within(60, lambda: "another guard writes" in second.status().problem)
    first.close()
    within(60, lambda: second.status().problem == "")
    second.close()
    assert verify(folder).findings == []


def test_a_file_that_is_removed_while_it_is_written_is_missed(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetvla.runtime.audit.log.SYNC_S", 0.0)
    log = start()
    log.take([fault(0)])
    within(60, lambda: log.status().written == 2)
    within(60, lambda: (folder / "audit.head").stat().st_size > 0)
    files_of(folder)[0].unlink()
    log.take([fault(1)])
    within(60, lambda: "was removed" in log.status().problem)
    log.take([fault(2)])
    log.close()
    (finding,) = verify(folder).findings
    assert "lines before this one were cut off" in finding.what
    assert lines(folder)[-2]["reason"] == "number 2"


WRITER = """
import sys, time
from pathlib import Path
from typing import Any
from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event
log = AuditLog(Path(sys.argv[1]), "ab" * 32, "cd" * 32, max_bytes=30000, max_files=100)
number = 0
print("ready", flush=True)
while True:
    log.take([Event(number * 10**9, "state", f"number {number}", State.ARMED)])
    number += 1
    time.sleep(0.0001)
"""


def test_a_killed_writer_never_breaks_the_chain(folder: Path) -> None:
    for delay_s in (0.0, 0.051, 0.06, 0.08, 0.11, 0.13, 0.17):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        if folder.exists() and files_of(folder):
            assert verify(folder).findings == []
    entries = whole_lines(folder)
    assert [e["seq"] for e in entries] == list(range(len(entries)))
    assert entries[-1]["kind"] == "state"


def whole_lines(folder: Path) -> list[dict[str, Any]]:
    """All but those that a kill tore."""
    entries = []
    for text in (line for path in files_of(folder) for line in path.read_text().splitlines()):
        with contextlib.suppress(ValueError):
            entries.append(json.loads(text))
    return entries
