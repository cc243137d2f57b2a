"""Metrics say what rings, report and processes hold, and nothing old as if it were new."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from prometheus_client.core import Metric as Family

from jetvla.runtime.bundle import MANIFEST, Bundle
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.faults import FAULTS
from jetvla.runtime.telemetry import spans
from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.thermal import Temperature
from jetvla.runtime.telemetry.power.throttling import Counter, Throttling
from jetvla.runtime.telemetry.stages import STAGES
from jetvla.services.telemetry.catalogue import METRICS
from jetvla.services.telemetry.collector import DaemonCollector

from .conftest import Robot, Scrape, Tells

MS = 1_000_000
Collect = Callable[..., DaemonCollector]
GUARD_SAYS = {m.name for m in METRICS if m.name.startswith(("jetvla_guard_", "jetvla_audit", "jetvla_instruction"))}


EVERYTHING = Tells(
    rails=(Rail("VDD_IN", 5250.0),),
    temperatures=(Temperature("cpu", 61.5), Temperature("cpu", 48.0)),
    throttling=Throttling(("cpufreq-0",), (Counter("oc1", 3),)),
)


@pytest.fixture
def collect(robot: Robot) -> Iterator[Collect]:
    """Makes a collector of what ``robot`` leaves."""
    with ExitStack() as opened:
        yield lambda machine=None: opened.enter_context(closing(DaemonCollector(robot.config, machine)))


def told(collector: DaemonCollector) -> Scrape:
    families: Iterable[Family] = collector.collect()
    return Scrape(list(families))


def test_everything_that_is_known_is_told(robot: Robot, collect: Collect) -> None:
    robot.ring("guard")
    robot.ring("policy")
    robot.report()
    scrape = told(collect(EVERYTHING))
    assert scrape.names == {name for metric in METRICS for name in metric.series}
    assert scrape.value("jetvla_guard_up") == scrape.value("jetvla_policy_up") == 1
    assert scrape.value("jetvla_guard_ticks_total") == 1317
    assert scrape.value("jetvla_guard_chunks_total") == 189
    assert scrape.value("jetvla_guard_clips_total") == 7
    assert scrape.value("jetvla_guard_rejections_total") == 3
    assert scrape.value("jetvla_guard_refusals_total") == 2
    assert {one["fault"] for one in scrape.labels("jetvla_guard_faults_total")} == set(FAULTS)
    assert scrape.value("jetvla_guard_faults_total", fault="estop") == 1
    assert scrape.value("jetvla_guard_faults_total", fault="stall") == 0
    states = {one["state"]: scrape.value("jetvla_guard_state", **one) for one in scrape.labels("jetvla_guard_state")}
    assert states == {state.value: float(state is State.ARMED) for state in State}
    rungs = {
        one["rung"]: scrape.value("jetvla_guard_scheduling", **one) for one in scrape.labels("jetvla_guard_scheduling")
    }
    assert rungs == {"fifo": 1, "slice": 0, "plain": 0}
    assert scrape.value("jetvla_instruction_present") == 1
    assert scrape.value("jetvla_audit_lines_written_total") == 12
    assert scrape.value("jetvla_audit_events_lost_total") == 2
    assert scrape.value("jetvla_audit_writable") == 1
    assert scrape.value("jetvla_power_watts", rail="VDD_IN") == 5.25
    # Two zones of one name are one series, for Prometheus would refuse the second.
    assert scrape.value("jetvla_temperature_celsius", zone="cpu") == 61.5
    assert scrape.value("jetvla_throttled") == 1
    assert scrape.value("jetvla_throttling_events_total", counter="oc1") == 3


def test_what_a_machine_does_not_tell_has_no_value(robot: Robot, collect: Collect) -> None:
    silent = told(collect(Tells(note="no sensor")))
    none = told(collect())
    for scrape in (silent, none):
        assert not {n for n in scrape.names if n.startswith(("jetvla_power", "jetvla_temp", "jetvla_thrott"))}


def test_every_run_of_a_stage_is_in_its_bucket(robot: Robot, collect: Collect) -> None:
    guard, policy = robot.ring("guard"), robot.ring("policy")
    for ns in (1, 10_000, 10_001, 30 * MS, 3_000 * MS):
        guard.add("guard", 0, ns)
    policy.add("step", 0, 4 * MS)
    guard.add("age", 0, 20 * MS, 7)
    scrape = told(collect())

    def bucket(le: str) -> float:
        return scrape.value("jetvla_stage_duration_seconds_bucket", process="guard", stage="guard", le=le)

    # A duration that is a bound belongs below it.
    assert [bucket(le) for le in ("1e-05", "2.5e-05", "0.025", "0.05", "2.5", "+Inf")] == [2, 3, 3, 4, 4, 5]
    assert scrape.value("jetvla_stage_duration_seconds_count", process="guard", stage="guard") == 5
    seconds = scrape.value("jetvla_stage_duration_seconds_sum", process="guard", stage="guard")
    assert seconds == pytest.approx(3.030020002, rel=1e-12)
    assert scrape.value("jetvla_stage_duration_seconds_count", process="policy", stage="step") == 1
    assert scrape.value("jetvla_frame_to_command_age_seconds_bucket", le="0.02") == 1
    assert scrape.value("jetvla_frame_to_command_age_seconds_bucket", le="0.01") == 0
    timed = {(one["process"], one["stage"]) for one in scrape.labels("jetvla_stage_duration_seconds_count")}
    assert timed == {(s.process, s.name) for s in STAGES if s.name != "age"}


def test_histograms_grow_by_what_is_new_and_what_was_lost_is_counted(robot: Robot, collect: Collect) -> None:
    ring = robot.ring("guard", capacity=8)
    collector = collect()
    for written in (3, 30):
        for _ in range(written):
            ring.add("wake", 0, MS)
        collector.follow()
    scrape = told(collector)
    counted = scrape.value("jetvla_stage_duration_seconds_count", process="guard", stage="wake")
    lost = scrape.value("jetvla_spans_lost_total", process="guard")
    assert (counted, lost) == (3 + 7, 23)


def test_a_restart_loses_nothing_and_counters_go_on(robot: Robot, collect: Collect) -> None:
    ring, collector = robot.ring("guard"), collect()
    ring.add("wake", 0, MS)
    first = told(collector).value("jetvla_process_start_time_seconds", process="guard")
    # Written after the last look, and before its end.
    ring.add("wake", 0, MS)
    ring = robot.ring("guard")
    ring.add("wake", 0, MS)
    scrape = told(collector)
    assert scrape.value("jetvla_stage_duration_seconds_count", process="guard", stage="wake") == 3
    assert scrape.value("jetvla_process_restarts_total", process="guard") == 1
    assert scrape.value("jetvla_process_restarts_total", process="policy") == 0
    assert time.time() - 60 < first < scrape.value("jetvla_process_start_time_seconds", process="guard") < time.time()


def test_without_daemons_they_are_down_and_nothing_else_is_said(robot: Robot, collect: Collect) -> None:
    scrape = told(collect())
    assert scrape.value("jetvla_guard_up") == scrape.value("jetvla_policy_up") == 0
    assert scrape.value("jetvla_spans_readable", process="guard") == 0
    assert scrape.names & GUARD_SAYS == {"jetvla_guard_up"}


@pytest.mark.parametrize("age_s", [3.5, 3600.0, -5.0], ids=["just", "long ago", "before the machine started"])
def test_a_stale_report_is_never_served_as_fresh(robot: Robot, collect: Collect, age_s: float) -> None:
    robot.report(written_ns=time.monotonic_ns() - round(age_s * 1e9))
    scrape = told(collect())
    assert scrape.value("jetvla_guard_up") == 0
    assert scrape.names & GUARD_SAYS <= {"jetvla_guard_up", "jetvla_guard_report_age_seconds"}
    assert "jetvla_bundle_info" not in scrape.names
    if age_s > 0:
        assert age_s <= scrape.value("jetvla_guard_report_age_seconds") < age_s + 60


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "ARMED"}', '{"colour": 1}'])
def test_a_report_of_another_version_is_a_guard_that_is_down(robot: Robot, collect: Collect, text: str) -> None:
    robot.config.status.write_text(text)
    assert told(collect()).value("jetvla_guard_up") == 0


def test_a_ring_of_another_version_is_said_once_and_read_no_further(
    robot: Robot, collect: Collect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(spans, "VERSION", 99)
        robot.ring("guard").add("wake", 0, MS)
    robot.ring("policy").add("step", 0, MS)
    collector = collect()
    for _ in range(3):
        scrape = told(collector)
    assert scrape.value("jetvla_spans_readable", process="guard") == 0
    assert scrape.value("jetvla_spans_readable", process="policy") == 1
    assert scrape.value("jetvla_stage_duration_seconds_count", process="policy", stage="step") == 1
    problem = f"{robot.config.spans('guard')} holds no spans of this version; restart the daemons"
    assert [record.message for record in caplog.records] == [problem]
    robot.ring("guard").add("wake", 0, MS)
    assert told(collector).value("jetvla_spans_readable", process="guard") == 1


DAEMON = """
import sys, time
from pathlib import Path
from jetvla.runtime.telemetry.spans import SpanRing
SpanRing(Path(sys.argv[1]), time.monotonic_ns())
print(flush=True)
sys.stdin.read()
"""


def test_a_process_that_ended_is_down_and_so_is_another_with_its_number(robot: Robot, collect: Collect) -> None:
    words, collector = [sys.executable, "-c", DAEMON, str(robot.config.spans("policy"))], collect()
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        scrape = told(collector)
        pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1])
        daemon.communicate()
    assert scrape.value("jetvla_policy_up") == 1
    resident = scrape.value("jetvla_process_resident_memory_bytes", process="policy")
    # Linux adds up a process's pages from counters of each CPU, so that two looks differ a little.
    assert resident == pytest.approx(pages * os.sysconf("SC_PAGE_SIZE"), rel=0.1)
    scrape = told(collector)
    assert scrape.value("jetvla_policy_up") == 0
    processes = {one["process"] for one in scrape.labels("jetvla_process_resident_memory_bytes")}
    assert processes == {"metrics"}
    # A ring of long before this process was there is not its own.
    spans.SpanRing(robot.config.spans("policy"), 1)
    assert told(collector).value("jetvla_policy_up") == 0


def test_the_bundle_is_named_while_it_is_the_one_that_runs(robot: Robot, collect: Collect, signed_bundle: Path) -> None:
    bundle = Bundle.open(signed_bundle, None)
    robot.report(bundle=bundle.digest)
    collector = collect()
    named = {"digest": bundle.digest, "name": bundle.manifest.name, "version": str(bundle.manifest.version)}
    assert told(collector).labels("jetvla_bundle_info") == [named]
    # Another one is installed; the guard still runs the first.
    manifest = signed_bundle / MANIFEST
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert told(collector).labels("jetvla_bundle_info") == [named]
    other = {"digest": bundle.digest, "name": "", "version": ""}
    assert told(collect()).labels("jetvla_bundle_info") == [other]
