"""Recordings play at their own speed, and the newest picture wins."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from jetvla.runtime.cameras import CameraEnded, CameraTimeout
from jetvla.runtime.cameras.paced import PacedCamera, Picture
from jetvla.runtime.clock import FakeClock

STEP_NS = 100_000_000


class Recording:
    """Ten pictures, 0.1 s apart, each filled with its number; counts what was loaded."""

    def __init__(self, count: int = 10) -> None:
        self.loaded: list[int] = []
        self._count = count

    def __call__(self) -> Iterator[Picture]:
        for number in range(self._count):
            yield Picture(number * STEP_NS, lambda number=number: self._load(number))

    def _load(self, number: int) -> np.ndarray:
        self.loaded.append(number)
        return np.full((2, 2, 3), number, np.uint8)


def opened(clock: FakeClock, loop: bool = False, recording: Recording | None = None) -> PacedCamera:
    return PacedCamera("front", clock, recording or Recording(), loop)


def test_times_are_the_first_read_plus_the_offsets() -> None:
    clock = FakeClock()
    camera = opened(clock)
    clock.advance(5.0)
    start_ns = clock.now_ns()
    frames = [camera.read(1.0) for _ in range(10)]
    assert [f.t_ns - start_ns for f in frames] == [i * STEP_NS for i in range(10)]
    assert [f.seq for f in frames] == list(range(10))
    assert [int(f.image[0, 0, 0]) for f in frames] == list(range(10))
    assert clock.now_ns() == frames[-1].t_ns


def test_a_slow_reader_gets_the_newest_and_the_others_are_not_even_loaded() -> None:
    clock, recording = FakeClock(), Recording()
    camera = opened(clock, recording=recording)
    assert camera.read(1.0).seq == 0
    clock.advance(0.57)
    frame = camera.read(1.0)
    assert frame.seq == 5
    assert clock.now_ns() - frame.t_ns == 70_000_000
    assert recording.loaded == [0, 5]


def test_a_frame_is_returned_once() -> None:
    clock = FakeClock()
    camera = opened(clock)
    camera.read(1.0)
    before = clock.now_ns()
    with pytest.raises(CameraTimeout, match=r"no frame within 0\.040 s"):
        camera.read(0.04)
    assert clock.now_ns() - before == 40_000_000
    assert camera.read(1.0).seq == 1


def test_a_time_out_of_zero_takes_what_is_due() -> None:
    clock = FakeClock()
    camera = opened(clock)
    assert camera.read(0.0).seq == 0
    with pytest.raises(CameraTimeout):
        camera.read(0.0)
    clock.advance(0.1)
    assert camera.read(0.0).seq == 1


def test_the_end_is_told() -> None:
    clock = FakeClock()
    camera = opened(clock)
    clock.advance(0.0)
    camera.read(1.0)
    clock.advance(60.0)
    assert camera.read(1.0).seq == 9
    with pytest.raises(CameraEnded, match="'front' is over; set 'loop: true'"):
        camera.read(1.0)


def test_a_loop_goes_on_one_gap_after_the_last_picture() -> None:
    clock = FakeClock()
    camera = opened(clock, loop=True)
    frames = [camera.read(1.0) for _ in range(25)]
    assert {b.t_ns - a.t_ns for a, b in pairwise(frames)} == {STEP_NS}
    assert [int(f.image[0, 0, 0]) for f in frames] == [i % 10 for i in range(25)]
    assert [f.seq for f in frames] == list(range(25))


def test_a_loop_of_one_picture_does_not_spin() -> None:
    clock = FakeClock()
    camera = opened(clock, loop=True, recording=Recording(1))
    times = [camera.read(1.0).t_ns for _ in range(3)]
    assert times[0] < times[1] < times[2]


def test_decoding_that_cannot_keep_up_ends_at_the_deadline() -> None:
    clock = FakeClock()

    def slow() -> Iterator[Picture]:
        for number in range(1000):
            clock.advance(0.2)
            yield Picture(number * STEP_NS, lambda: np.zeros((2, 2, 3), np.uint8))

    camera = PacedCamera("front", clock, slow, loop=False)
    camera.read(1.0)
    before = clock.now_ns()
    camera.read(1.0)
    assert clock.now_ns() - before <= 1_300_000_000


def test_a_closed_camera_has_ended() -> None:
    camera = opened(FakeClock())
    camera.close()
    with pytest.raises(CameraEnded):
        camera.read(0.0)
