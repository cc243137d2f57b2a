"""The daemons as metrics: rings, ``status.json``, processes and the machine, read at every scrape."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from jetvla.runtime.bundle import MANIFEST, parse_manifest
from jetvla.runtime.clock import Clock, MonotonicClock
from jetvla.runtime.config import Config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.faults import FAULTS
from jetvla.runtime.guard.scheduling import Rung
from jetvla.runtime.telemetry.power import PowerSource, Reading
from jetvla.runtime.telemetry.stages import STAGES
from jetvla.runtime.telemetry.status import Status, read_status
from jetvla.services.telemetry import catalogue
from jetvla.services.telemetry.page import Page
from jetvla.services.telemetry.processes import Process, find_process
from jetvla.services.telemetry.totals import RingTotals

log = logging.getLogger("jetvla.metrics")

_AGE = "age"
_EVENTS = {
    "clip": catalogue.GUARD_CLIPS,
    "reject": catalogue.GUARD_REJECTIONS,
    "refusal": catalogue.GUARD_REFUSALS,
}
_AUDIT = {
    "written": catalogue.AUDIT_LINES,
    "lost": catalogue.AUDIT_LOST,
    "suppressed": catalogue.AUDIT_SUPPRESSED,
    "waiting": catalogue.AUDIT_WAITING,
}
_MW_PER_W = 1000.0


class DaemonCollector(Collector):
    """Everything in :data:`jetvla.services.telemetry.catalogue.METRICS` that is known at the moment.

    What the guard says of itself is left out as soon as its report is stale: old values are never served as fresh.

    Args:
        config: of the daemons.
        machine: tells temperatures and power; None leaves them out.
    """

    def __init__(self, config: Config, machine: PowerSource | None, clock: Clock | None = None) -> None:
        self._config, self._machine, self._clock = config, machine, clock or MonotonicClock()
        self._rings = tuple(_totals(config, name) for name in ("guard", "policy"))
        self._bundle = ("", "", "")
        self._lock = threading.Lock()

    def follow(self) -> None:
        """Count new spans; to be called often enough that a ring does not come round: every few seconds."""
        with self._lock:
            for ring in self._rings:
                before = ring.problem
                ring.follow()
                if ring.problem not in ("", before):
                    log.warning("%s", ring.problem)

    def collect(self) -> Iterable[Family]:
        """One scrape."""
        self.follow()
        with self._lock:
            page = Page()
            page.set(catalogue.BUILD_INFO, 1, version("jetvla"))
            self._guard(page)
            for ring in self._rings:
                _ring(page, ring)
            if (me := find_process(os.getpid(), time.monotonic_ns())) is not None:
                _memory(page, "metrics", me)
            if self._machine is not None:
                _reading(page, self._machine.read())
            return page.families()

    def close(self) -> None:
        """Let go of the rings and of the machine."""
        for ring in self._rings:
            ring.close()
        if self._machine is not None:
            self._machine.close()

    def _guard(self, page: Page) -> None:
        now_ns = self._clock.now_ns()
        try:
            status = read_status(self._config.status)
        except JetvlaError:
            page.set(catalogue.GUARD_UP, 0)
            return
        fresh = status.fresh(now_ns)
        page.set(catalogue.GUARD_UP, float(fresh))
        if (age_s := status.age_s(now_ns)) >= 0:
            page.set(catalogue.GUARD_REPORT_AGE, age_s)
        if fresh:
            _report(page, status)
            page.set(catalogue.BUNDLE_INFO, 1, *self._running(status.bundle))

    def _running(self, digest: str) -> tuple[str, str, str]:
        """Digest, name and version of the guard's bundle."""
        if self._bundle[0] != digest:
            self._bundle = (digest, *_named(self._config.bundle / MANIFEST, digest))
        return self._bundle


def _totals(config: Config, name: str) -> RingTotals:
    bounds = {
        stage.name: (catalogue.FRAME_TO_COMMAND if stage.name == _AGE else catalogue.STAGE_DURATION).buckets
        for stage in STAGES
        if stage.process == name
    }
    return RingTotals(name, config.spans(name), bounds)


def _named(manifest: Path, digest: str) -> tuple[str, str]:
    """Name and version of the bundle; empty if there is another one by now."""
    try:
        raw = manifest.read_bytes()
        if hashlib.sha256(raw).hexdigest() == digest:
            found = parse_manifest(raw, manifest)
            return found.name, str(found.version)
    except (OSError, JetvlaError) as error:
        log.warning("the bundle's name is not known: %s", error)
    return "", ""


def _report(page: Page, status: Status) -> None:
    page.choose(catalogue.GUARD_STATE, status.state, (state.value for state in State))
    page.choose(catalogue.GUARD_SCHEDULING, status.rung, get_args(Rung))
    page.set(catalogue.GUARD_TICKS, status.ticks)
    page.set(catalogue.GUARD_CHUNKS, status.chunks)
    page.set(catalogue.INSTRUCTION_PRESENT, float(status.instruction is not None))
    for kind, metric in _EVENTS.items():
        page.set(metric, status.counts.get(kind, 0))
    for fault in FAULTS:
        page.set(catalogue.GUARD_FAULTS, status.counts.get(fault, 0), fault)
    if status.audit is not None:
        _audit(page, status.audit)


def _audit(page: Page, audit: dict[str, Any]) -> None:
    for name, metric in _AUDIT.items():
        page.set(metric, audit[name])
    page.set(catalogue.AUDIT_WRITABLE, float(not audit["problem"]))


def _ring(page: Page, ring: RingTotals) -> None:
    for stage, total in ring.stages.items():
        if stage == _AGE:
            page.histogram(catalogue.FRAME_TO_COMMAND, total)
        else:
            page.histogram(catalogue.STAGE_DURATION, total, ring.name, stage)
    page.set(catalogue.SPANS_READABLE, float(not ring.problem), ring.name)
    page.set(catalogue.SPANS_LOST, ring.lost, ring.name)
    page.set(catalogue.PROCESS_RESTARTS, ring.restarts, ring.name)
    process = ring.process()
    if ring.name == "policy":
        page.set(catalogue.POLICY_UP, float(process is not None))
    if process is not None and ring.started_s is not None:
        page.set(catalogue.PROCESS_START, ring.started_s, ring.name)
        _memory(page, ring.name, process)


def _memory(page: Page, name: str, process: Process) -> None:
    page.set(catalogue.PROCESS_MEMORY, process.resident_bytes, name)


def _reading(page: Page, reading: Reading) -> None:
    # Zones of one name are there on some boards; Prometheus takes a series once. The hottest stays.
    for zone, celsius in dict(sorted((t.zone, t.celsius) for t in reading.temperatures)).items():
        page.set(catalogue.TEMPERATURE, celsius, zone)
    for name, mw in {rail.name: rail.mw for rail in reading.rails}.items():
        page.set(catalogue.POWER, mw / _MW_PER_W, name)
    if reading.throttling is not None:
        page.set(catalogue.THROTTLED, float(bool(reading.throttling.active)))
        for counter in reading.throttling.counters:
            page.set(catalogue.THROTTLING_EVENTS, counter.count, counter.name)
