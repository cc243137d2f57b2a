"""What the robot can be asked for, and in which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["pick", "move"]

SENTENCES: dict[Kind, tuple[str, ...]] = {
    "pick": (
        "pick up the {} block",
        "grab the {} block",
        "take the {} block",
        "pick the {} cube up",
        "please pick up the {} block",
        "grab the {} cube",
    ),
    "move": (
        "move to the {} block",
        "go to the {} block",
        "reach the {} block",
        "move the gripper to the {} cube",
        "please go to the {} cube",
        "point at the {} block",
    ),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One wish: ``pick`` closes the gripper at the block of ``colour``, ``move`` only goes there."""

    kind: Kind
    colour: str
    wording: int = 0

    @property
    def instruction(self) -> str:
        """The sentence that is spoken."""
        return SENTENCES[self.kind][self.wording].format(self.colour)

    @classmethod
    def parse(cls, instruction: str, colours: tuple[str, ...]) -> Task | None:
        """The task that ``instruction`` puts into words, about one of ``colours``; None if there is none."""
        tasks = (cls(k, c, w) for k, texts in SENTENCES.items() for w in range(len(texts)) for c in colours)
        return next((task for task in tasks if task.instruction == instruction), None)

    @classmethod
    def sample(cls, rng: np.random.Generator, colours: tuple[str, ...]) -> Task:
        """A random wish for one of ``colours``."""
        kind: Kind = "pick" if rng.random() < 0.5 else "move"
        return cls(kind, str(rng.choice(colours)), int(rng.integers(len(SENTENCES[kind]))))


def sentences(colours: tuple[str, ...]) -> tuple[str, ...]:
    """Every sentence about every one of ``colours``, for making a tokenizer."""
    return tuple(s.format(c) for texts in SENTENCES.values() for s in texts for c in colours)
