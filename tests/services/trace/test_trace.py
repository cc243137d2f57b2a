"""From rings to a file, seen by a parser that knows nothing of jetvla."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.config import Config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event
from jetvla.runtime.telemetry import spans
from jetvla.runtime.telemetry.span_reader import Span
from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.runtime.telemetry.status import Status, write_status
from jetvla.services.cli import main
from jetvla.services.trace.events import TraceEvents
from jetvla.services.trace.file import TraceFile
from jetvla.services.trace.flows import KEPT
from jetvla.services.trace.incidents import incidents
from jetvla.services.trace.rings import Process, Ran
from jetvla.services.trace.tracing import trace, trace_last

from ...faults.viewer import View
from .conftest import MS, Robot, S

# Half a year after the machine's start.
LATE = 180 * 24 * 3600 * S


def test_every_span_is_a_slice_to_the_nanosecond(config: Config, tmp_path: Path) -> None:
    robot = Robot(config, LATE)
    ages = [robot.answer(LATE + 50 * MS * n + 123) for n in range(10)]
    traced = trace_last(config, tmp_path / "run.json")
    view = View(tmp_path / "run.json")
    assert view.overlaps() == []
    view.check_flows()
    assert list(view.ages().values()) == ages
    assert len(view.slices) == 10 * 7 == sum(traced.spans.values())
    assert [s.end_ns - s.begin_ns for s in view.named("wake")] == [80_123] * 10
    assert [s.begin_ns for s in view.named("capture")] == [50 * MS * n for n in range(10)]
    assert {s.track for s in view.slices} == {s.name for s in view.slices}
    assert view.counters["wake lateness"] == [(50 * MS * n + 32_001_007 + 80_123, 0.080123) for n in range(10)]
    assert [value for _, value in view.counters["frame age"]] == [age / MS for age in ages]
    assert view.metadata["start_monotonic_ns"] == LATE + 123


def test_what_goes_on_at_once_lies_on_further_tracks(config: Config, tmp_path: Path) -> None:
    robot = Robot(config, 0)
    for n in range(6):
        robot.answer(S + 50 * MS * n, step_ms=110)
    trace_last(config, tmp_path / "run.json")
    view = View(tmp_path / "run.json")
    assert view.overlaps() == []
    view.check_flows()
    ages = {s.track for s in view.named("age")}
    assert ages == {"age", "age (2)", "age (3)"}
    assert {s.track for s in view.named("capture")} == {"capture"}


def test_a_frame_that_no_command_obeyed_has_no_end(config: Config, tmp_path: Path) -> None:
    robot = Robot(config, 0)
    for n in range(4):
        robot.answer(S + 50 * MS * n, commanded=n != 2)
    traced = trace_last(config, tmp_path / "run.json")
    view = View(tmp_path / "run.json")
    view.check_flows()
    assert [points[-1].phase for points in view.flows.values()] == ["f", "f", "t", "f"]
    assert (traced.captured, traced.commanded) == (4, 3)
    assert view.metadata["frames"] == {"captured": 4, "commanded": 3}


def test_both_daemons_may_have_the_same_process_number(config: Config, tmp_path: Path) -> None:
    robot = Robot(config, 0)
    robot.answer(S)
    trace_last(config, tmp_path / "run.json")
    pids = View(tmp_path / "run.json").pids
    assert pids["policy"] == robot.pid
    assert pids["guard"] not in (robot.pid, 0)


def test_what_is_lost_is_said(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    robot = Robot(config, 0, capacity=16)
    for n in range(8):
        robot.answer(S + 50 * MS * n)
    assert main(["trace", "--last", "-o", str(tmp_path / "run.json"), "--config", str(tmp_path / "jetvla.yaml")]) == 0
    view = View(tmp_path / "run.json")
    said = capsys.readouterr().out
    assert f"guard {robot.pid}: 15 spans, 25 older ones overwritten" in said
    assert f"policy {robot.pid}: 15 spans, 1 older ones overwritten" in said
    assert view.metadata["lost_spans"] == 26
    assert [(d["name"], d["spans"], d["lost_spans"]) for d in view.metadata["daemons"]] == [
        ("policy", 15, 1),
        ("guard", 15, 25),
    ]
    view.check_flows()


def test_what_began_before_the_trace_is_left_out() -> None:
    events, process = TraceEvents(1000), Process("guard", 7, 0)
    assert list(events.of(Ran(process, Span("age", 999, 50, 999)))) == []
    # Its capture is not in the trace, so no arrow leads from nowhere.
    shown = list(events.of(Ran(process, Span("publish", 1010, 5, 999))))
    assert [e["ph"] for e in shown if e["ph"] != "M"] == ["X"]


def test_an_older_chunk_s_health_leads_no_arrow_back_in_time() -> None:
    events, policy, guard = TraceEvents(0), Process("policy", 7, 0), Process("guard", 8, 0)
    phases = [
        event["ph"]
        for ran in (
            Ran(policy, Span("capture", 100, 10, 100)),
            Ran(guard, Span("link", 90, 50, 100)),
            Ran(guard, Span("publish", 150, 5, 100)),
        )
        for event in events.of(ran)
        if event["ph"] in "stf"
    ]
    assert phases == ["s", "f"]


def test_a_long_trace_does_not_stay_in_memory(tmp_path: Path) -> None:
    events, policy, guard = TraceEvents(0), Process("policy", 7, 0), Process("guard", 8, 0)

    def write(out: TraceFile, first: int, end: int) -> None:
        for n in range(first, end):
            out.write(events.of(Ran(policy, Span("capture", n * MS, MS, n * MS))))
            out.write(events.of(Ran(guard, Span("publish", n * MS + 5, 3, n * MS - 1))))

    with TraceFile(tmp_path / "run.json.gz") as out:
        write(out, 1, KEPT + 2)
        tracemalloc.start()
        write(out, KEPT + 2, 4 * KEPT)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 2_000_000 < (4 * KEPT) * 200
    assert len(View(tmp_path / "run.json.gz").flows) == 4 * KEPT - 1


# The audit log

EVENTS = (
    Event(S, "state", "armed by the operator", State.ARMED),
    Event(2 * S, "clip", "beyond velocity: x", State.ARMED, raw=(0.5,), sent=(0.25,)),
    Event(3 * S, "fault", "1.2 s old", State.ARMED, "stale_frame"),
    Event(4 * S, "state", "at rest", State.DISARMED),
)


def audited(folder: Path, events: tuple[Event, ...], max_bytes: int = 1 << 20) -> None:
    log = AuditLog(folder, "ab" * 32, "cd" * 32, max_bytes=max_bytes)
    log.take(events)
    log.close()


def test_state_and_faults_are_instants_of_the_guard(config: Config, tmp_path: Path) -> None:
    robot = Robot(config, S // 2)
    for n in range(80):
        robot.answer(S + 50 * MS * n)
    audited(tmp_path / "audit", EVENTS)
    traced = trace_last(config, tmp_path / "run.json")
    assert traced.audit == "3 changes of state, faults and refusals"
    assert View(tmp_path / "run.json").instants == [
        (0, "ARMED", "armed by the operator"),
        (2 * S, "fault stale_frame", "1.2 s old"),
        (3 * S, "DISARMED", "at rest"),
    ]


def test_incidents_are_found_across_files_and_not_across_restarts_of_the_machine(tmp_path: Path) -> None:
    before = tuple(Event(t * S, "state", f"old {t}", State.ARMED) for t in range(20, 50))
    now = tuple(Event(t * S, "state", f"new {t}", State.ARMED) for t in range(3, 40))
    folder = tmp_path / "audit"
    audited(folder, before, max_bytes=2000)
    audited(folder, now, max_bytes=2000)
    assert len(list(folder.glob("audit-*.jsonl"))) > 8
    found = incidents(folder, 5 * S, 30 * S)
    assert [i.reason for i in found] == [f"new {t}" for t in range(5, 31)]


def test_an_audit_log_that_cannot_be_read_is_said(config: Config, tmp_path: Path) -> None:
    Robot(config, 0).answer(S)
    assert "audit cannot be read: No such file" in trace_last(config, tmp_path / "run.json").audit


# While they run


def test_a_running_robot_is_written_as_it_runs(config: Config, tmp_path: Path) -> None:
    robot, done = Robot(config, time.monotonic_ns()), threading.Event()
    robot.answer(time.monotonic_ns() - 10 * S, step_ms=30)
    ages: list[int] = []

    def work() -> None:
        # The frame's capture is in the past of its answer, but not in that of the trace.
        while not done.wait(0.05):
            ages.append(robot.answer(time.monotonic_ns()))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        traced = trace(config, tmp_path / "run.json.gz", lambda: len(ages) > 20)
    finally:
        done.set()
        worker.join()
    view = View(tmp_path / "run.json.gz")
    view.check_flows()
    assert view.overlaps() == []
    assert set(view.ages().values()) == set(ages), "what was in the rings before is left out"
    assert len(view.ages()) == traced.commanded > 10
    assert view.metadata["lost_spans"] == 0
    assert not list(tmp_path.glob("*.partial"))


def test_a_daemon_that_is_started_anew_meanwhile(config: Config, tmp_path: Path) -> None:
    begun = time.monotonic_ns()
    robot, turns = Robot(config, begun), iter(range(100))

    def until() -> bool:
        turn = next(turns)
        if turn == 2:
            robot.policy.close()
            robot.policy = SpanRing(config.spans("policy"), begun + S)
        robot.answer(time.monotonic_ns())
        return turn == 4

    traced = trace(config, tmp_path / "run.json", until)
    assert {(p.name, p.started_ns): n for p, n in traced.spans.items()} == {
        ("policy", begun): 4,
        ("policy", begun + S): 6,
        ("guard", begun): 25,
    }


def test_where_nobody_writes_there_is_no_file(config: Config, tmp_path: Path) -> None:
    Robot(config, 0).answer(S)
    target = tmp_path / "run.json"
    target.write_text("older")
    with pytest.raises(JetvlaError, match=r"no daemon writes into .*run; start them .* --last"):
        trace(config, target, lambda: True)
    assert target.read_text() == "older"
    assert not list(tmp_path.glob(".*partial"))


RUN = [sys.executable, "-m", "jetvla.services", "trace", "--seconds", "600"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whoever_stops_it_keeps_what_it_has(config: Config, config_path: Path, number: signal.Signals) -> None:
    robot, target = Robot(config, time.monotonic_ns()), config_path.parent / "run.json.gz"
    command = [*RUN, "-o", str(target), "--config", str(config_path)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        partial = target.with_name(f".{target.name}.{running.pid}.partial")
        deadline = time.monotonic() + 60
        while not partial.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for _ in range(8):
            robot.answer(time.monotonic_ns())
            time.sleep(0.1)
        running.send_signal(number)
        assert running.wait(60) == 0
    finally:
        running.kill()
        running.wait()
    assert not partial.exists()
    assert len(View(target).flows) > 0


# What is wrong


def refusal(config_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["trace", "--config", str(config_path), *options]) == 1
    return capsys.readouterr().err


def test_no_daemon_has_ever_run(config_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(config_path.parent / "run.json")
    assert "no daemon has left anything" in refusal(config_path, capsys, "--last", "-o", target)
    assert "no daemon writes into" in refusal(config_path, capsys, "--seconds", "0.1", "-o", target)


def test_a_ring_of_another_version(
    config: Config, config_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "VERSION", 99)
    Robot(config, 0)
    target = config_path.parent / "run.json"
    for options in ("--last", "--seconds=1"):
        said = refusal(config_path, capsys, options, "-o", str(target))
        assert "policy.spans holds no spans of this version; restart the daemons" in said
    assert not target.exists()


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_that_is_none(config_path: Path, capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    assert "--seconds" in refusal(config_path, capsys, f"--seconds={seconds}")


def test_an_output_that_cannot_be_written(
    config: Config, config_path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    robot = Robot(config, 0)
    for n in range(1000):
        robot.answer(S + 50 * MS * n)
    assert "is no file" in refusal(config_path, capsys, "--last", "-o", str(tmp_path))
    nowhere = tmp_path / "nowhere/run.json"
    assert "cannot write" in refusal(config_path, capsys, "--last", "-o", str(nowhere))
    full = tmp_path / "run.json"
    full.write_text("older")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    for name in ("run.json", "run.json.gz"):
        said = refusal(config_path, capsys, "--last", "-o", str(tmp_path / name))
        assert "File too large; nothing of it is left" in said
    assert full.read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["jetvla.yaml", "run", "run.json"]


def test_what_the_metadata_holds(config: Config, tmp_path: Path) -> None:
    robot = Robot(config, 0)
    robot.answer(S)
    digest = "ab" * 32
    for pid, bundle in ((os.getpid(), digest), (1, None)):
        write_status(Status(0, pid, "ARMED", "", digest, None, "", "", 0, 0, {}, {}, []), config.status)
        trace_last(config, tmp_path / "run.json")
        metadata = View(tmp_path / "run.json").metadata
        assert metadata["bundle"] == bundle
    assert metadata["config"] == config.digest
    assert set(metadata["versions"]) == {"jetvla", "python"}
    assert metadata["trace"] == "the last that the rings hold"
