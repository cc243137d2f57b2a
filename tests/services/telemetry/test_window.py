"""Rates of a daemon that was started anew."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.services.telemetry.window import SpanWindow

from .conftest import Robot

MS, S = 1_000_000, 1_000_000_000


def test_the_rate_of_a_guard_that_began_anew_is_its_own(robot: Robot) -> None:
    """A second of 100 ticks a second, after nine of a former guard."""
    path, now_ns = robot.config.spans("guard"), time.monotonic_ns()
    former = SpanRing(path, now_ns - 60 * S)
    for tick in range(900):
        former.add("guard", now_ns - 10 * S + tick * 10 * MS, MS)
    with closing(SpanWindow("guard", path)) as window:
        window.move(now_ns - S)
        assert window.per_second("guard", now_ns - S) == pytest.approx(90, rel=0.01)
        began = SpanRing(path, now_ns - S)
        for tick in range(100):
            began.add("guard", now_ns - S + tick * 10 * MS, MS)
        window.move(now_ns)
        assert len(window.spans) > 900
        assert window.per_second("guard", now_ns) == pytest.approx(100)
