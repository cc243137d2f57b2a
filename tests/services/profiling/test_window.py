"""What is seen of daemons that ran long before anybody looked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jetvla.runtime.config import Config, load_config
from jetvla.runtime.telemetry.span_reader import Span
from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.runtime.telemetry.status import Status, write_status
from jetvla.services.profiling.rings import PROCESSES, Rings
from jetvla.services.profiling.window import observe

CAPACITY = 8


def written(config: Config, count: int) -> dict[str, SpanRing]:
    rings = {name: SpanRing(config.spans(name), 1, CAPACITY) for name in PROCESSES}
    for ring in rings.values():
        for _ in range(count):
            ring.add("step", time.monotonic_ns(), 1)
    rings["policy"].add("language", time.monotonic_ns(), 7000)
    return rings


def reported(config: Config, state: str = "ARMED", **counts: int) -> None:
    status = Status(time.monotonic_ns(), os.getpid(), state, "", "", None, "", "", 0, 0, {}, counts, [])
    write_status(status, config.status)


def test_what_a_ring_overwrote_before_the_measurement_is_not_lost(configured: Callable[..., Path]) -> None:
    config = load_config(configured())
    reported(config)
    written(config, 5 * CAPACITY)
    window = observe(config, Rings(config), 0.3, None)
    assert window.lost == 0
    assert window.collector.count("step") == 0
    assert window.collector.count("language") == 1


def test_what_runs_while_the_rings_are_first_read_is_before_the_measurement(configured: Callable[..., Path]) -> None:
    config = load_config(configured())
    reported(config)
    ring = written(config, 0)["policy"]

    class Slow(Rings):
        reads = 0

        def read(self) -> tuple[tuple[Span, ...], ...]:
            found = super().read()
            self.reads += 1
            if self.reads == 1:
                ring.add("step", time.monotonic_ns(), 1)
            return found

    window = observe(config, Slow(config), 0.3, None)
    assert window.collector.count("step") == 0
    assert window.collector.count("language") == 1


def test_what_it_overwrites_meanwhile_is(configured: Callable[..., Path]) -> None:
    config = load_config(configured())
    reported(config)
    rings = written(config, 0)

    def work() -> None:
        for _ in range(2 * CAPACITY):
            rings["guard"].add("guard", time.monotonic_ns(), 1)

    window = observe(config, Rings(config), 0.3, None, work)
    assert window.lost >= CAPACITY


@pytest.mark.parametrize(
    ("before", "meanwhile", "stops", "stopped"),
    [
        (("ARMED", {"stall": 2}), ("ARMED", {"stall": 2}), {}, 0),
        (("ARMED", {"stall": 2, "stops": 1}), ("ARMED", {"stall": 9, "stops": 3, "clip": 9}), {"stall": 7}, 2),
        (("ARMED", {}), ("STOPPING", {"no_camera": 1, "stops": 1}), {"no_camera": 1}, 1),
        (("ARMED", {}), ("ARMED", {"instruction_expired": 1}), {"instruction_expired": 1}, 1),
        (("DISARMED", {"stall": 1}), ("ARMED", {"stall": 1}), {"not armed": 1}, 1),
        (("DISARMED", {}), ("DISARMED", {"no_camera": 4}), {"no_camera": 4}, 1),
        (("ARMED", {}), ("DISARMED", {"stops": 1}), {"not armed": 1}, 1),
    ],
    ids=["goes on", "armed again", "stopped", "held", "armed late", "never armed", "disarmed"],
)
def test_a_guard_that_did_not_follow_the_policy_is_told(
    configured: Callable[..., Path],
    before: tuple[str, dict[str, int]],
    meanwhile: tuple[str, dict[str, int]],
    stops: dict[str, int],
    stopped: int,
) -> None:
    config = load_config(configured())
    written(config, 0)
    reported(config, before[0], **before[1])
    window = observe(config, Rings(config), 0.3, None, lambda: reported(config, meanwhile[0], **meanwhile[1]))
    assert (window.stops, window.stopped) == (stops, stopped)
