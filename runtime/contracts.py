"""What flows between the rooms. Times are ``CLOCK_MONOTONIC`` nanoseconds; arrays are read-only."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def freeze(array: NDArray[np.generic]) -> None:
    """Make ``array`` read-only in place."""
    array.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One camera image.

    Attributes:
        camera: name of the camera, as in the manifest.
        image: uint8 [H, W, 3], RGB.
        seq: counts the frames of this camera, from 0.
        t_ns: capture time (not arrival).
    """

    camera: str
    image: NDArray[np.uint8]
    seq: int
    t_ns: int

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(
                f"frame of {self.camera!r} must be uint8 [H, W, 3], not {self.image.dtype} {self.image.shape}"
            )
        freeze(self.image)


@dataclass(frozen=True, slots=True)
class Instruction:
    """What the operator asked for.

    Attributes:
        text: the sentence, white space folded.
        id: first 8 bytes of SHA-256 of ``text``, so that policy and guard agree without talking.
        t_ns: when it was received.
    """

    text: str
    id: int
    t_ns: int

    @classmethod
    def of(cls, text: str, t_ns: int) -> Instruction:
        """Fold white space, apply Unicode NFC, and derive the id."""
        folded = " ".join(unicodedata.normalize("NFC", text).split())
        digest = hashlib.sha256(folded.encode()).digest()
        return cls(folded, int.from_bytes(digest[:8], "little"), t_ns)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What the policy sees in one step.

    Attributes:
        frames: one per camera, in the manifest's order.
        state: float32 [S] in the manifest's order, or None if the policy takes none.
        instruction: the sentence.
    """

    frames: tuple[Frame, ...]
    state: NDArray[np.float32] | None
    instruction: Instruction


@dataclass(frozen=True, slots=True, eq=False)
class ActionChunk:
    """A policy's answer to one observation, in physical units, un-normalised.

    Attributes:
        actions: float32 [H, D]; row h is meant for time ``t0_ns + h * dt_ns``.
        t0_ns: capture time of the frame that this answers.
        dt_ns: time between rows.
        instruction_id: :attr:`Instruction.id` of the sentence that it obeys.
        bundle: digest of the bundle that computed it.
        seq: counts the chunks of this run of the policy, from 0.
    """

    actions: NDArray[np.float32]
    t0_ns: int
    dt_ns: int
    instruction_id: int
    bundle: str
    seq: int

    def __post_init__(self) -> None:
        freeze(self.actions)


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """What was really sent to the robot.

    Attributes:
        values: float64 [D] in the action spec's order and units.
        t_ns: when it was decided.
        seq: counts the ticks of the guard, from 0.
    """

    values: NDArray[np.float64]
    t_ns: int
    seq: int

    def __post_init__(self) -> None:
        freeze(self.values)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a command is as it is.

    Attributes:
        reason: one word for the rule that decided, such as ``"policy"``, ``"stopping"``.
        clipped: names of the action dimensions that were changed.
        frame_ns: capture time of the frame that the newest chunk in use answers; 0 if none is in use.
    """

    reason: str
    clipped: tuple[str, ...] = ()
    frame_ns: int = 0
