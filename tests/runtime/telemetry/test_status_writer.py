"""Reports are written beside the tick, the last one for certain."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from jetvla.runtime.telemetry.status import Status, StatusWriter, read_status


def status(ticks: int) -> Status:
    return Status(1, 2, "ARMED", "", "ab", None, "", "plain", ticks, 0, {}, {}, [])


def test_the_last_report_is_there_after_close(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    writer = StatusWriter(path)
    for ticks in range(1000):
        writer.post(status(ticks))
    writer.close()
    assert read_status(path).ticks == 999
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """The partial file is a pipe that nobody reads: the writer's open waits."""
    pipe = tmp_path / ".status.json.partial"
    os.mkfifo(pipe)
    writer = StatusWriter(tmp_path / "status.json")
    done = threading.Event()

    def post() -> None:
        for ticks in range(100):
            writer.post(status(ticks))
        done.set()

    threading.Thread(target=post, daemon=True).start()
    assert done.wait(10)
    reader = os.open(pipe, os.O_RDONLY)
    writer.close()
    os.close(reader)


def test_what_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = StatusWriter(tmp_path / "gone" / "status.json")
    writer.post(status(1))
    writer.close()
    writer = StatusWriter(tmp_path / "gone" / "status.json")
    for ticks in range(5):
        writer._write(status(ticks))
    writer.close()
    assert sum("cannot be written: No such file" in r.getMessage() for r in caplog.records) == 2
