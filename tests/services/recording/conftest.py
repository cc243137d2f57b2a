"""A guard with a fake clock, and a recorder that reads along in another thread."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.clock import FakeClock
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import BUNDLE, GuardRig, twist_spec
from jetvla.services.recording.calls import Call
from jetvla.services.recording.guard import NotedGuard
from jetvla.services.recording.recorder import Recorded, record
from jetvla.services.recording.tap import Tap

CONFIG = "cd" * 32


def arm_spec() -> ActionSpec:
    """A twist, and a gripper that nobody measures."""
    gripper = ActionDimension(name="gripper", quantity="gripper", unit="1", semantics="absolute")
    return ActionSpec(dimensions=(*twist_spec().dimensions, gripper), rotation="rotation_vector")


class RestlessClock(FakeClock):
    """Goes on by a little whenever it is read, as a real one does."""

    _rng = random.Random(0)

    def now_ns(self) -> int:
        self._now_ns += self._rng.randrange(20_000)
        return self._now_ns


class CountingTap(Tap):
    """Knows how many calls it has sent."""

    count = 0

    def heard(self, call: Call) -> None:
        super().heard(call)
        self.count += not self._slow


class Stage:
    """A guard, its tap, and at most one recorder.

    Attributes:
        reading: cleared, the recorder stops reading.
    """

    def __init__(self, folder: Path, execution: str = "latest", clock: FakeClock | None = None) -> None:
        timing = ChunkTiming(horizon=8, dt_s=0.05, replan_s=0.2, execution=execution)  # type: ignore[arg-type]
        self.path = folder / "tap.sock"
        # The policy of these tests changes its mind all the time.
        limits = dataclasses.replace(Limits(), seam_m=1e6, seam_rad=1e6, seam_ratio=1e6)
        self.rig = GuardRig(arm_spec(), timing, limits)
        self.rig.clock = clock or RestlessClock()
        self.guard = NotedGuard(self.rig.spec, timing, self.rig.limits, 100.0, BUNDLE, self.rig.clock)
        self.rig.guard = self.guard
        self.tap = CountingTap(self.path, {os.getuid()}, self.guard, CONFIG)
        self.file = folder / "run.mcap"
        self.reading = threading.Event()
        self.reading.set()
        self._ending = threading.Event()
        self._read, self._asked_s = 0, 0.0
        self._thread: threading.Thread | None = None
        self._recorded: list[Recorded] = []

    def start(self) -> None:
        """Start to record."""
        self.tap.count = 0
        self._thread = threading.Thread(target=self._record, daemon=True)
        self._thread.start()
        while self.tap.poll() == "":
            self._wait()

    def _record(self) -> None:
        self._recorded.append(record(self.path, self.file, self._until))

    def _until(self) -> bool:
        """Asked after every packet, and after every turn without one, which takes a while."""
        self.reading.wait()
        self._read += 1
        before_s, self._asked_s = self._asked_s, time.monotonic()
        return self._ending.is_set() and self._asked_s - before_s > 0.15

    def run(self, seconds: float, action: Sequence[float]) -> None:
        """Let the policy ask for ``action``; the recorder keeps up if it reads."""
        for _ in range(round(seconds / 0.2)):
            self.rig.run(0.2, action)
            self.tap.poll()
            while self.reading.is_set() and self._thread is not None and self._read < self.tap.count:
                self._wait()

    def _wait(self) -> None:
        assert self._thread is not None
        assert self._thread.is_alive(), "the recorder has ended"
        time.sleep(0.001)

    def arm_again(self) -> None:
        """Disarm, wait for rest, arm."""
        self.guard.disarm()
        self.run(2.6, [0.0] * 7)
        self.rig.arm()

    def stop(self) -> Recorded:
        """End the recording."""
        assert self._thread is not None
        self._ending.set()
        self._thread.join()
        return self._recorded[0]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Makes a stage; its tap is closed at the end."""
    pytest.importorskip("mcap", reason="needs mcap: pip install 'jetvla[record]'")
    stages: list[Stage] = []

    def make(**settings: Any) -> Stage:
        stages.append(Stage(tmp_path, **settings))
        return stages[-1]

    yield make
    for one in stages:
        one.tap.close()
