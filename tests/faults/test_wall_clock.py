"""The wall clock jumps by an hour under every process of the robot; the robot goes on."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .rig import Rig
from .settings import Settings
from .verdict import went_on

pytestmark = pytest.mark.ros

HOUR_NS = 3600 * 10**9
WATCH_S = 3.0
# DDS may lose images of this size, and some in a row stop the robot: not at each of so many steps of the clock.
STEPS = 3


class WallClock:
    """The wall clock of every process that is started with its environment."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self._offset.write_bytes(struct.pack("<q", 0))
        library = folder / "wallclock.so"
        source = Path(__file__).with_name("wallclock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        self.environment = {"LD_PRELOAD": str(library), "WALLCLOCK_OFFSET": str(self._offset)}

    def set(self, ns: int) -> None:
        with self._offset.open("r+b") as file:
            file.write(struct.pack("<q", ns))


@pytest.fixture
def wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WallClock:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, to move the clock of a process")
    clock = WallClock(tmp_path)
    for name, value in clock.environment.items():
        monkeypatch.setenv(name, value)
    return clock


@pytest.fixture
def simulated_robot(wall_clock: WallClock) -> Iterator[None]:
    """A robot with a ROS camera, in a process whose clock jumps too."""
    process = subprocess.Popen([sys.executable, "-m", "jetvla.services", "simulate"], stdout=subprocess.DEVNULL)
    yield
    process.terminate()
    process.wait()


def test_the_shim_moves_the_wall_clock_alone(wall_clock: WallClock) -> None:
    code = "import time; print(time.time_ns() - time.monotonic_ns())"
    ask = [sys.executable, "-c", code]
    before = int(subprocess.check_output(ask))
    wall_clock.set(HOUR_NS)
    assert abs(int(subprocess.check_output(ask)) - before - HOUR_NS) < 10**9


def test_a_step_of_the_wall_clock_does_not_stop_a_moving_robot(
    start: Callable[[], Rig], settings: Settings, wall_clock: WallClock, simulated_robot: None
) -> None:
    settings["cameras"] = {"front": {"kind": "ros", "topic": "/camera/image_raw"}}
    rig = start()
    offset_ns = 0
    for name, step_ns in (("wall clock ahead", HOUR_NS), ("wall clock back", -HOUR_NS)):
        for left in reversed(range(STEPS)):
            rig.move()
            chunks, since_ns = rig.status().chunks, time.monotonic_ns()
            offset_ns += step_ns
            wall_clock.set(offset_ns)
            time.sleep(WATCH_S)
            try:
                went_on(rig, name, since_ns)
                assert rig.status().chunks > chunks + WATCH_S * 5
                break
            except AssertionError:
                if not left:
                    raise
