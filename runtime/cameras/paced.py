"""Recorded pictures, played at their own speed as if a camera took them now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.cameras.base import CameraEnded, CameraTimeout
from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.contracts import Frame


class Picture(NamedTuple):
    """When one recorded picture is due after the start, and how to get its pixels: uint8 [H, W, 3] RGB."""

    offset_ns: int
    load: Callable[[], NDArray[np.uint8]]


class PacedCamera:
    """Plays pictures in real time: ``t_ns`` is the first :meth:`read` plus the picture's offset.

    As with a real camera, pictures that are due while nobody reads are lost: only the newest is loaded.

    Args:
        play: starts a recording over and yields its pictures with rising offsets, from 0.
        loop: start over at the end, one picture's time after the last one.
    """

    def __init__(self, name: str, clock: Clock, play: Callable[[], Iterator[Picture]], loop: bool) -> None:
        self.name = name
        self._clock = clock
        self._pictures = enumerate(_again_and_again(play) if loop else play())
        self._next = next(self._pictures, None)
        self._start_ns: int | None = None

    def read(self, timeout_s: float) -> Frame:
        """See :class:`~jetvla.runtime.cameras.base.Camera`."""
        now_ns = self._clock.now_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        if self._next is None:
            raise CameraEnded(f"the recording of camera {self.name!r} is over; set 'loop: true' to repeat it")
        deadline_ns = now_ns + seconds_to_ns(timeout_s)
        due_ns = self._start_ns + self._next[1].offset_ns
        self._clock.sleep_until_ns(min(due_ns, deadline_ns))
        if due_ns > deadline_ns:
            raise CameraTimeout(f"camera {self.name!r}: no frame within {timeout_s:.3f} s")
        seq, picture = self._newest(self._next, self._start_ns, deadline_ns)
        return Frame(self.name, picture.load(), seq, self._start_ns + picture.offset_ns)

    def close(self) -> None:
        self._next = None
        self._pictures = enumerate(())

    def _newest(self, due: tuple[int, Picture], start_ns: int, deadline_ns: int) -> tuple[int, Picture]:
        """Skip to the last picture that is due; give up at the deadline if decoding cannot keep up."""
        while True:
            self._next = next(self._pictures, None)
            now_ns = self._clock.now_ns()
            if self._next is None or now_ns > deadline_ns or start_ns + self._next[1].offset_ns > now_ns:
                return due
            due = self._next


def _again_and_again(play: Callable[[], Iterator[Picture]]) -> Iterator[Picture]:
    start_ns = 0
    while True:
        last_ns = gap_ns = 0
        for picture in play():
            gap_ns, last_ns = picture.offset_ns - last_ns, picture.offset_ns
            yield Picture(start_ns + picture.offset_ns, picture.load)
        start_ns += last_ns + max(gap_ns, 1_000_000)
