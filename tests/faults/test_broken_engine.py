"""The real policy whose engine breaks while the robot moves: the guard must see it by what comes over the link."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .rig import Rig
from .verdict import stopped

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(("name", "manner"), [("engine nan", "nan"), ("engine slow", "slow")])
def test_an_engine_that_breaks(start: Callable[[], Rig], breaks: Path, name: str, manner: str) -> None:
    rig = start()
    rig.move()
    fault_ns = time.monotonic_ns()
    breaks.write_text(manner)
    stopped(rig, name, fault_ns)
    breaks.unlink()
    rig.move()
