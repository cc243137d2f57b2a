"""The metrics' process: it serves what the daemons write, and ends with one line on what a user can fix."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise

import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.telemetry.address import Address
from jetvla.services.companion import HEALTHY_S, Companion
from jetvla.services.metrics_daemon import serve
from jetvla.services.telemetry.collector import DaemonCollector
from jetvla.services.termination import EndRequest

from .conftest import Exporter, Robot, Scrape, scrape, wait_for


def test_it_serves_what_the_daemons_write_while_they_come_and_go(robot: Robot, export: Callable[[], Exporter]) -> None:
    exporter = export()
    found = wait_for(lambda: scrape(robot.port), "it serves without daemons")
    assert found.value("jetvla_guard_up") == 0
    ring = robot.ring("guard")
    ring.add("guard", 0, 1000)
    robot.report()
    found = scrape(robot.port)
    assert found is not None
    assert found.value("jetvla_guard_up") == 1
    assert found.value("jetvla_stage_duration_seconds_count", stage="guard") == 1
    assert found.value("jetvla_process_resident_memory_bytes", process="metrics") > 1e6
    exporter.process.send_signal(signal.SIGTERM)
    assert exporter.wait() == 0
    assert f"serving http://127.0.0.1:{robot.port}/metrics" in exporter.log.read_text()


def test_spans_are_counted_without_anybody_who_scrapes(robot: Robot) -> None:
    ring = robot.ring("guard", capacity=64)
    with closing(DaemonCollector(robot.config, None)) as collector:
        for _ in range(10):
            for _ in range(40):
                ring.add("wake", 0, 1000)
            # As the process does between scrapes.
            collector.follow()
        found = Scrape(list(collector.collect()))
    assert found.value("jetvla_spans_lost_total", process="guard") == 0
    assert found.value("jetvla_stage_duration_seconds_count", process="guard", stage="wake") == 400


def test_an_occupied_port_is_named(robot: Robot, export: Callable[[], Exporter]) -> None:
    with socket.create_server(("127.0.0.1", robot.port)):
        exporter = export()
        assert exporter.wait() == 1
    (line,) = exporter.log.read_text().splitlines()
    assert line.startswith(
        f"metrics: telemetry.metrics: nothing can be served at 127.0.0.1:{robot.port}: Address already"
    )
    assert "choose another address" in line


def test_switched_off_it_has_nothing_to_do(robot: Robot, export: Callable[[], Exporter]) -> None:
    robot.configure(None)
    exporter = export()
    assert exporter.wait() == 0
    assert exporter.log.read_text() == "metrics: nothing to do: telemetry.metrics is null\n"


def test_a_wrong_configuration_is_named_with_its_line(robot: Robot, export: Callable[[], Exporter]) -> None:
    robot.path.write_text("bundle: x\ncameras: {front: {kind: ros}}\ntelemetry:\n  metrics: everywhere\n")
    exporter = export()
    assert exporter.wait() == 1
    assert f"{robot.path}:4: telemetry.metrics: " in exporter.log.read_text()


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", 0), ("0.0.0.0", 1)])
def test_an_address_that_others_reach_is_warned_about_once(
    robot: Robot, host: str, warned: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.setpriority", lambda *_: None)
    asked = EndRequest()
    asked.set()
    with caplog.at_level(logging.WARNING):
        serve(robot.config, Address(host, robot.port), asked)
    assert [r.message for r in caplog.records if "other machines" in r.message] == [
        f"{host}:{robot.port} can be reached from other machines, and asks for no password"
    ] * warned


class Child:
    """A process of the companion; ``status`` ends it."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.terminated = False

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.terminated = True

    def wait(self, timeout: float | None = None) -> int:
        return 0


class Nursery:
    """Starts children, and remembers whether they were to be silent."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.silent: list[bool] = []
        self.full = False

    def start(self, silent: bool) -> subprocess.Popen[bytes]:
        if self.full:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.silent.append(silent)
        self.children.append(Child())
        return self.children[-1]  # type: ignore[return-value]


def test_a_companion_that_keeps_dying_is_said_once_and_started_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, nursery = FakeClock(), Nursery()
    companion = Companion("metrics", nursery.start, clock)
    starts = []
    for second in range(300):
        before = len(nursery.children)
        companion.poll()
        if len(nursery.children) > before:
            starts.append(second)
            nursery.children[-1].returncode = 1
            companion.poll()
        clock.advance(1)
    waits = [later - before for before, later in pairwise(starts)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert nursery.silent == [False, *[True] * 9]
    assert [r.message for r in caplog.records] == [
        "the metrics process ended with status 1; the robot goes on, and it is started again"
    ]


def test_a_companion_that_lived_for_a_minute_is_spoken_of_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, nursery = FakeClock(), Nursery()
    companion = Companion("metrics", nursery.start, clock)
    for lived_s in (0.0, 0.0, HEALTHY_S, 0.0):
        companion.poll()
        clock.advance(lived_s)
        companion.poll()
        nursery.children[-1].returncode = -9
        companion.poll()
        clock.advance(2)
    # The second time and the last, it had not got over what ended it before.
    assert [r.message.partition(";")[0] for r in caplog.records] == ["the metrics process ended with status -9"] * 2
    companion.poll()
    companion.stop()
    assert [child.terminated for child in nursery.children] == [False, False, False, False, True]


def test_a_companion_that_cannot_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, nursery = FakeClock(), Nursery()
    nursery.full = True
    companion = Companion("metrics", nursery.start, clock)
    companion.poll()
    assert "cannot be started: Resource temporarily unavailable" in caplog.text
    nursery.full = False
    clock.advance(1)
    companion.poll()
    assert len(nursery.children) == 1
