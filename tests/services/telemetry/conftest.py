"""A folder as running daemons leave it: rings of spans and a report; and real processes that read it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client.core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from jetvla.runtime.config import Config, load_config
from jetvla.runtime.telemetry.power.reading import Reading
from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.runtime.telemetry.status import Status, write_status

# Only for a test that would otherwise hang; nothing here measures speed.
PATIENCE_S = 180.0
REPORT = Status(
    written_ns=0,
    pid=1,
    state="ARMED",
    reason="armed by the operator",
    bundle="0" * 64,
    instruction="pick up the red block",
    policy="sends chunks",
    scheduling="SCHED_FIFO priority 50",
    ticks=1317,
    chunks=189,
    stages={},
    counts={"clip": 7, "reject": 3, "refusal": 2, "estop": 1, "state": 4, "cleared": 1},
    events=["ARMED state: armed by the operator"],
    audit={"folder": "/x", "written": 12, "waiting": 1, "lost": 2, "suppressed": 5, "problem": ""},
    rung="fifo",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], object], what: str) -> Any:
    """The first true answer of ``condition``."""
    give_up = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < give_up, f"waited in vain: {what}"
        time.sleep(0.05)
    return found


class Tells:
    """A machine's sensors that tell the same each time; the fields are those of :class:`Reading`."""

    name = "test"
    measures_power = False

    def __init__(self, **fields: Any) -> None:
        self._reading = Reading(0, self.name, **fields)

    def read(self) -> Reading:
        return self._reading

    def close(self) -> None:
        """Nothing was opened."""


class Robot:
    """What guard and policy leave in their folder; this process plays both."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "jetvla.yaml"
        self.port = free_port()
        (folder / "run").mkdir()
        self.configure(f"127.0.0.1:{self.port}")

    def configure(self, metrics: str | None) -> None:
        settings = {
            "bundle": "bundle",
            "run_dir": "run",
            "cameras": {"front": {"kind": "frames", "path": "pictures"}},
            "guard": {"outputs": [{"kind": "log", "path": "commands.jsonl"}]},
            "telemetry": {"metrics": metrics},
        }
        self.path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        self.config: Config = load_config(self.path)

    def ring(self, name: str, capacity: int = 1 << 16) -> SpanRing:
        """A new ring of the daemon ``name``, as at its start."""
        return SpanRing(self.config.spans(name), time.monotonic_ns(), capacity)

    def report(self, **changes: Any) -> Status:
        """Write a report of this moment."""
        status = replace(REPORT, **({"written_ns": time.monotonic_ns(), "pid": os.getpid()} | changes))
        write_status(status, self.config.status)
        return status


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    return Robot(tmp_path)


class Scrape:
    """What one scrape told."""

    def __init__(self, families: list[Family]) -> None:
        self._samples = [sample for family in families for sample in family.samples]
        self.names = {sample.name for sample in self._samples}
        self.kinds = {family.name: family.type for family in families}

    def value(self, name: str, **labels: str) -> float:
        """Of the only sample with this name and these labels."""
        (found,) = [s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items()]
        return float(found)

    def labels(self, name: str) -> list[dict[str, str]]:
        return [sample.labels for sample in self._samples if sample.name == name]


def scrape(port: int) -> Scrape | None:
    """None while nothing is served."""
    with suppress(URLError, ConnectionError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        return Scrape(list(text_string_to_metric_families(answer.read().decode())))
    return None


class Exporter:
    """The metrics' real process."""

    def __init__(self, robot: Robot) -> None:
        self.log = robot.path.with_name("metrics.log")
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jetvla.services.metrics_daemon", "--config", str(robot.path)],
                stderr=output,
                stdout=output,
            )

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def export(robot: Robot) -> Iterator[Callable[[], Exporter]]:
    started: list[Exporter] = []

    def start() -> Exporter:
        started.append(Exporter(robot))
        return started[-1]

    yield start
    for exporter in started:
        exporter.process.kill()
        exporter.process.wait()
