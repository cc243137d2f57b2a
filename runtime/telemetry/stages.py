"""The stages from light to motion: one table, read by daemons, profiler and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing that is timed.

    Attributes:
        process: whose clock measures it.
        meaning: from what to what.
    """

    name: str
    process: Literal["policy", "guard"]
    meaning: str


STAGES: tuple[Stage, ...] = (
    Stage("capture", "policy", "capture time of the newest frame to its step's start"),
    Stage("preprocess", "policy", "resize and colour order of all frames of a step"),
    Stage("tokenize", "policy", "instruction to token ids; only when the instruction changed"),
    Stage("language", "policy", "language engine; only when the instruction changed"),
    Stage("step", "policy", "step engine"),
    Stage("link", "guard", "chunk sent to chunk received"),
    Stage("wake", "guard", "how late the tick's thread was woken"),
    Stage("guard", "guard", "one tick: request, shape, check"),
    Stage("publish", "guard", "handing one command to the sink"),
    Stage("age", "guard", "capture time of the frame to the first command that obeys it"),
)

STAGE_NAMES: tuple[str, ...] = tuple(s.name for s in STAGES)
