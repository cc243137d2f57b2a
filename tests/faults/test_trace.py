"""A trace of the real daemons, seen by a parser that knows nothing of jetvla."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from jetvla.runtime.telemetry.histogram import RESOLUTION
from jetvla.runtime.telemetry.span_reader import Span, SpanReader
from jetvla.services import supervisor
from jetvla.services.supervisor import GUARD, POLICY

from .rig import Rig, within
from .settings import Settings
from .viewer import View

pytestmark = pytest.mark.ros

Start = Callable[[], Rig]
MS = 1_000_000
DELAY_MS = 50
FILE = "run.json.gz"


@contextmanager
def tracing(rig: Rig, *options: str) -> Iterator[subprocess.Popen[str]]:
    """``jetvla trace`` of the daemons of ``rig``; it does not outlive the block."""
    command = [sys.executable, "-m", "jetvla.services", "trace", "-o", str(rig.path.parent / FILE)]
    with subprocess.Popen([*command, "--config", str(rig.path), *options], stderr=subprocess.PIPE, text=True) as trace:
        try:
            yield trace
        finally:
            trace.kill()


def written(trace: subprocess.Popen[str], rig: Rig) -> View:
    """What it has written, once it has ended."""
    _, problem = trace.communicate(timeout=120)
    assert trace.returncode == 0, problem
    return View(rig.path.parent / FILE)


def last(rig: Rig) -> View:
    with tracing(rig, "--last") as trace:
        return written(trace, rig)


def answered(rig: Rig) -> int:
    """How many frames a command has obeyed. A busy machine may stop the robot; then it is armed again."""
    if rig.state != "ARMED":
        rig.repair()
        rig.arm()
    return int(rig.status().stages.get("age", {}).get("count", 0))


def ages_by_capture(rig: Rig) -> dict[int, int]:
    """What the guard itself has measured."""
    return {span.frame_ns: span.duration_ns for span in ring(rig, GUARD) if span.stage == "age"}


def ring(rig: Rig, name: str) -> tuple[Span, ...]:
    return SpanReader(rig.config.spans(name)).read().spans


def percentile(values: Sequence[int], share: float) -> float:
    """The nearest rank, in milliseconds."""
    return sorted(values)[math.ceil(share * len(values)) - 1] / MS


def test_each_frame_s_age_is_that_of_the_guard(start: Start) -> None:
    rig = start()
    with tracing(rig, "--seconds", "600") as trace:
        within(60, lambda: list(rig.path.parent.glob(f".{FILE}.*")), "it traces")
        before = answered(rig)
        within(60, lambda: answered(rig) > before + 40, "frames are answered")
        trace.terminate()
        view = written(trace, rig)
    assert view.overlaps() == []
    view.check_flows()
    ages, begun_ns = ages_by_capture(rig), view.metadata["start_monotonic_ns"]
    seen = {frame + begun_ns: age for frame, age in view.ages().items()}
    assert len(seen) > 20
    assert seen == {frame: ages[frame] for frame in seen}
    assert view.pids == {name: process.pid for name, process in rig.daemons.processes.items()}
    assert view.metadata["bundle"] == rig.status().bundle
    assert view.metadata["lost_spans"] == 0
    assert len(view.counters["wake lateness"]) == len(view.named("wake")) > 100


def test_what_they_did_last_can_be_seen_after_their_end(start: Start) -> None:
    rig = start()
    within(60, lambda: answered(rig) > 40, "frames are answered")
    rig.daemons.stop()
    view = last(rig)
    assert view.overlaps() == []
    view.check_flows()
    # The status counts every frame since the start, as the rings still do.
    stage, ages = rig.status().stages["age"], list(view.ages().values())
    assert len(ages) == stage["count"]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        exact = percentile(ages, share)
        assert exact <= stage[name] <= exact * (1 + RESOLUTION)
    names = [name for _, name, _ in view.instants]
    assert "ARMED" in names
    assert names[-1] == "DISARMED"


SLOW = """
import time
from jetvla.runtime import preprocess
from jetvla.services import policy_daemon

resize = preprocess.Resizer.__call__

def slow(self, *arguments):
    time.sleep({seconds})
    return resize(self, *arguments)

preprocess.Resizer.__call__ = slow
raise SystemExit(policy_daemon.main())
"""


def test_a_delay_in_a_stage_is_seen_in_that_stage(
    start: Start, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_policy.py").write_text(SLOW.format(seconds=DELAY_MS / 1000))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setitem(supervisor._MODULES, POLICY, "slow_policy")
    rig = start()
    within(60, lambda: answered(rig) > 10, "frames are answered")
    view = last(rig)
    assert view.overlaps() == []
    view.check_flows()
    assert min(s.end_ns - s.begin_ns for s in view.named("preprocess")) >= DELAY_MS * MS
    assert min(view.ages().values()) >= DELAY_MS * MS
    # The golden self-test has no camera; what else a step takes is a millisecond or so, even here.
    steps = [s.end_ns - s.begin_ns for s in view.named("step")]
    assert percentile(steps, 0.5) < DELAY_MS
