"""What Perfetto itself makes of a trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jetvla.runtime.config import Config
from jetvla.services.trace.tracing import trace_last

from ...faults.perfetto import query
from ...faults.viewer import View
from .conftest import MS, Robot, S
from .test_trace import EVENTS, audited

EXAMPLE = Path(__file__).parents[3] / "docs/example-trace.json.gz"

# What is wrong with arrows it takes for mere information.
PROBLEMS = """
select name, value from stats where value > 0 and (severity in ('error', 'data_loss') or name like 'flow_%')
"""
SLICES = """
select slice.ts, slice.dur, slice.name, slice.depth, thread.name as track, process.name as process
from slice join thread_track on slice.track_id = thread_track.id join thread using (utid) join process using (upid)
"""
WAYS = """
select publish.ts + publish.dur - capture.ts as age
from flow a join flow b on b.slice_out = a.slice_in join flow c on c.slice_out = b.slice_in
join slice capture on capture.id = a.slice_out join slice publish on publish.id = c.slice_in
order by capture.ts
"""
FLOWS = "select count(*) as count from flow"
COUNTERS = "select t.name, count(*) as count from counter join process_counter_track t on t.id = track_id group by 1"


@pytest.fixture
def slow(config: Config, tmp_path: Path) -> Path:
    """Of a robot whose frames overlap, and which had faults."""
    robot = Robot(config, S // 2)
    for n in range(80):
        robot.answer(S + 50 * MS * n, step_ms=110, commanded=n % 7 != 3)
    audited(tmp_path / "audit", EVENTS)
    trace_last(config, tmp_path / "run.json.gz")
    return tmp_path / "run.json.gz"


def agrees(path: Path) -> None:
    """Perfetto sees what the format's own rules say is there, and finds nothing wrong."""
    view = View(path)
    problems, slices, ways, flows, counters = query(path, PROBLEMS, SLICES, WAYS, FLOWS, COUNTERS)
    assert problems == []
    # A fault and the change of state that it makes have the same time.
    depths = {row["depth"] for row in slices if row["track"] != "state and faults"}
    assert depths == {0}, "no slice lies within another one"
    seen = sorted((r["ts"], r["dur"], r["name"], r["track"], r["process"]) for r in slices)
    shown = [(s.begin_ns, s.end_ns - s.begin_ns, s.name, s.track, s.process) for s in view.slices]
    assert seen == sorted(shown + [(t, 0, name, "state and faults", "guard") for t, name, _ in view.instants])
    assert [row["age"] for row in ways] == list(view.ages().values())
    assert flows == [{"count": sum(len(points) - 1 for points in view.flows.values())}]
    assert {c["name"]: c["count"] for c in counters} == {f"{name} ms": len(v) for name, v in view.counters.items()}


def test_perfetto_reads_frames_that_overlap(slow: Path) -> None:
    assert len(View(slow).instants) == 3
    agrees(slow)


def test_perfetto_reads_the_example_of_the_documents() -> None:
    view = View(EXAMPLE)
    view.check_flows()
    assert view.overlaps() == []
    assert len(view.ages()) > 10
    assert EXAMPLE.stat().st_size < 100_000
    agrees(EXAMPLE)


def test_perfetto_would_find_overlaps_and_loose_arrows(tmp_path: Path) -> None:
    slice_ = {"ph": "X", "name": "age", "pid": 1, "tid": 256, "ts": 0, "dur": 10}
    arrow = {"ph": "t", "cat": "frame", "name": "frame", "id": 1, "pid": 1, "tid": 256, "ts": 5}
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"traceEvents": [slice_, slice_ | {"ts": 5}, arrow]}))
    (problems,) = query(path, PROBLEMS)
    names = {problem["name"] for problem in problems}
    assert names == {"slice_drop_overlapping_complete_event", "flow_step_without_start"}
