"""The real policy whose engine breaks while the robot moves: the guard must see it by what comes over the link."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .broken.sitecustomize import BROKEN
from .rig import Rig
from .verdict import stopped

pytestmark = pytest.mark.ros


@pytest.mark.parametrize(("name", "manner"), [("engine nan", "nan"), ("engine slow", "slow")])
def test_an_engine_that_breaks(
    start: Callable[[], Rig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, manner: str
) -> None:
    order = tmp_path / "broken"
    monkeypatch.setenv(BROKEN, str(order))
    folder = str(Path(__file__).with_name("broken"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH")))))
    rig = start()
    rig.move()
    fault_ns = time.monotonic_ns()
    order.write_text(manner)
    stopped(rig, name, fault_ns)
    order.unlink()
    rig.move()
