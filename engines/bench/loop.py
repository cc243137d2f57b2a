"""The policy's loop on a camera that always has a new picture, so that nothing waits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.bench.turns import CAMERA_SIZE
from jetvla.runtime.cameras.slot import CameraSlot
from jetvla.runtime.clock import Clock
from jetvla.runtime.contracts import Frame, Instruction
from jetvla.runtime.policy.actor import Actor
from jetvla.runtime.policy.heartbeat import Sender
from jetvla.runtime.policy.loop import PolicyLoop
from jetvla.runtime.policy.model import Model
from jetvla.runtime.policy.sight import Sight

SENTENCE = "pick up the red block"
_PICTURES = 8


class Pictures:
    """Pictures of the camera's size, each another one than that before it."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._pictures = [rng.integers(0, 256, CAMERA_SIZE, np.uint8) for _ in range(_PICTURES)]
        self._given = 0

    def next(self) -> NDArray[np.uint8]:
        """The next one, uint8 [480, 640, 3]."""
        self._given += 1
        return self._pictures[self._given % _PICTURES]


class ReadyCamera:
    """Always has a new frame, taken this moment."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self._clock, self._pictures, self._seq = name, clock, Pictures(), 0

    def read(self, timeout_s: float) -> Frame:
        """See :class:`~jetvla.runtime.cameras.base.Camera`."""
        self._seq += 1
        return Frame(self.name, self._pictures.next(), self._seq, self._clock.now_ns())

    def opened(self) -> ReadyCamera:
        """Itself: there is nothing to open."""
        return self

    def close(self) -> None:
        """There is nothing to close."""


def open_loop(model: Model, sender: Sender, clock: Clock) -> PolicyLoop:
    """The loop as the policy process makes it, for a policy that takes no state."""
    cameras = [ReadyCamera(camera.name, clock) for camera in model.bundle.manifest.cameras]
    sight = Sight([CameraSlot(camera.name, camera.opened, clock) for camera in cameras], clock)
    instruction = Instruction.of(SENTENCE, clock.now_ns())
    return PolicyLoop(sight, lambda: instruction, Actor(model), sender, clock)
