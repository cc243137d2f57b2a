"""The tap beside the guard: it changes nothing, and lets no recorder hold it up."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.guard.core import Guard
from jetvla.runtime.guard.rig import BUNDLE, GuardRig
from jetvla.runtime.link.listener import listen
from jetvla.services.recording.calls import Call, unpack
from jetvla.services.recording.guard import NotedGuard, noted_methods
from jetvla.services.recording.recorder import connect, record
from jetvla.services.recording.tap import MAX_PACKET, Tap

from .conftest import CONFIG, Stage

AHEAD = [0.2, 0.1, 0.0, 0.0, 0.0, 0.3, 0.8]
MakeStage = Callable[..., Stage]


def test_a_guard_that_hangs_keeps_no_recorder_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetvla.services.recording.recorder._PATIENCE_S", 0.05)
    path = tmp_path / "tap.sock"
    with closing(listen(path)), ExitStack() as let_in:

        def fill_its_queue() -> None:
            for _ in range(1000):
                let_in.enter_context(connect(path))

        with pytest.raises(JetvlaError, match="no guard answers"):
            fill_its_queue()


def test_every_way_to_tell_the_guard_something_is_noted() -> None:
    public = {name for name in dir(Guard) if not name.startswith("_")}
    reads = {"state", "publishing", "locked", "latched_by", "faults", "refusals", "resume"}
    assert public - reads == set(noted_methods())


def test_a_call_shows_one_time_and_a_call_within_it_is_not_noted() -> None:
    calls: list[Call] = []

    class Notes:
        def heard(self, call: Call) -> None:
            calls.append(call)

    rig = GuardRig()
    guard = NotedGuard(rig.spec, rig.timing, rig.limits, 100.0, BUNDLE, rig.clock)
    guard.listener = Notes()
    rig.guard = guard
    rig.arm()
    rig.step()
    guard.disarm()
    assert [c.name for c in calls] == ["on_hello", "on_health", "on_peers", "on_instruction", "arm", "tick", "disarm"]
    assert calls[4].result == ()
    assert [c.at_ns for c in calls] == [*[10**9] * 5, *[1_010_000_000] * 2]
    rig.clock.advance(1.0)
    assert "link_silent" in "".join(guard.refusals()), "a look at the guard shows the time of now"


def test_a_reader_that_never_reads_changes_no_command(stage: MakeStage) -> None:
    one = stage(clock=FakeClock())
    other = GuardRig(one.rig.spec, one.rig.timing, one.rig.limits)
    silent = connect(one.path)
    while one.tap.poll() == "":
        pass
    for rig in (one.rig, other):
        rig.arm()
        for _ in range(20):
            rig.run(0.4, AHEAD)
            one.tap.poll()
    assert np.array_equal(one.rig.commands(), other.commands())
    assert len(one.rig.commands()) == 800
    silent.close()


def test_the_gap_is_counted_and_followed_by_a_snapshot(stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetvla.services.recording.tap.SEND_BUFFER", 1 << 16)
    one = stage()
    with connect(one.path) as reader:
        while one.tap.poll() == "":
            pass
        one.rig.arm()
        one.run(4.0, AHEAD)
        before = _read(reader)
        assert "was too slow" in one.tap.poll()
        one.rig.step()
        after = _read(reader)
    assert [p["seq"] for p in before + after] == list(range(len(before) + len(after)))
    assert [p["name"] for p in before[:2]] == ["setup", "snapshot"]
    heard = len(before) - 2 + after[0]["lost"]
    assert after[0]["name"] == "snapshot"
    assert heard == 5 + 400 + 20 * 4 + 20, "hello to arm, ticks, health reports, chunks"
    assert {p["name"] for p in after[1:-1]} == {"on_hello", "on_health", "on_peers", "on_instruction", "on_chunk"}
    assert all(p["earlier"] for p in after[1:-1])
    assert after[-1]["name"] == "tick"


def _read(reader: socket.socket) -> list[dict[str, object]]:
    reader.setblocking(False)
    packets = []
    while True:
        try:
            packets.append(unpack(reader.recv(MAX_PACKET)))
        except BlockingIOError:
            return packets


def test_a_recorder_that_is_gone_is_forgotten(stage: MakeStage) -> None:
    one = stage()
    connect(one.path).close()
    one.tap.poll()
    one.rig.arm()
    one.rig.step()
    assert one.guard.listener is None
    with connect(one.path):
        assert one.tap.poll() == "recorder: reads along"


def test_only_certain_users_may_record(tmp_path: Path) -> None:
    rig = GuardRig()
    guard = NotedGuard(rig.spec, rig.timing, rig.limits, 100.0, BUNDLE, rig.clock)
    tap = Tap(tmp_path / "tap.sock", {os.getuid() + 1}, guard, CONFIG)
    assert (tmp_path / "tap.sock").stat().st_mode & 0o777 == 0o660
    with connect(tmp_path / "tap.sock"):
        assert "is not allowed to connect" in tap.poll()
    assert guard.listener is None
    tap.close()
    assert not (tmp_path / "tap.sock").exists()


def test_there_is_one_recorder_at_a_time(stage: MakeStage, tmp_path: Path) -> None:
    one = stage()
    one.start()
    said: list[str] = []

    def guard() -> None:
        while not said or not said[-1]:
            said.append(one.tap.poll())
            time.sleep(0.001)

    thread = threading.Thread(target=guard)
    thread.start()
    with pytest.raises(JetvlaError, match="sent this recorder away"):
        record(one.path, tmp_path / "second.mcap", lambda: True)
    thread.join()
    assert "there is one already" in said[-1]
    assert not (tmp_path / "second.mcap").exists()
    one.stop()


def test_a_recorder_without_a_guard_or_with_a_file_in_its_way_says_so(stage: MakeStage, tmp_path: Path) -> None:
    with pytest.raises(JetvlaError, match="no guard answers"):
        record(tmp_path / "nowhere.sock", tmp_path / "run.mcap", lambda: True)
    assert not (tmp_path / "run.mcap").exists()
    one = stage()
    one.start()
    one.stop()
    one.tap.poll()
    one.rig.step()
    thread = threading.Thread(target=lambda: [one.tap.poll() or time.sleep(0.001) for _ in range(200)])
    thread.start()
    with pytest.raises(JetvlaError, match="is there already"):
        record(one.path, one.file, lambda: True)
    thread.join()
