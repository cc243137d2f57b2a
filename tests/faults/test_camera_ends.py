"""A recording that plays as a camera comes to its end while the robot moves."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .rig import Rig
from .rows import CAMERA_HZ
from .settings import Settings
from .verdict import stopped

pytestmark = pytest.mark.ros

# Time enough for the robot to be found, armed and moved, even on a busy machine.
LENGTH_S = 12.0
_IN_OPEN = 0x20


class Opened:
    """When a file is opened, by whichever process: inotify."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init()
        if libc.inotify_add_watch(self._descriptor, bytes(path), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {path}")

    def wait_ns(self, seconds: float) -> int:
        """Monotonic nanoseconds of the next time."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        t_ns = time.monotonic_ns()
        os.close(self._descriptor)
        assert ready, f"it was not opened within {seconds:g} s"
        return t_ns


def test_a_recording_that_is_over(start: Callable[[], Rig], settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    shown = sorted((tmp_path / "pictures").iterdir())
    for index in range(round(LENGTH_S * CAMERA_HZ)):
        shutil.copy(shown[index % len(shown)], folder / f"{index:04d}.png")
    settings["cameras"] = {"front": {"kind": "frames", "path": "recording", "fps": CAMERA_HZ}}
    last = Opened(folder / f"{index:04d}.png")
    rig = start()
    rig.move()
    stopped(rig, "camera ends", last.wait_ns(2 * LENGTH_S))
    assert "is over" in "\n".join(rig.status().events)
