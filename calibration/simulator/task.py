"""What the robot can be asked for, and in which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["pick", "move", "home"]

SENTENCES: dict[Kind, tuple[str, ...]] = {
    "pick": (
        "pick up the {} block",
        "grab the {} block",
        "take the {} block",
        "grab the {} cube",
    ),
    "move": (
        "move to the {} block",
        "go to the {} block",
        "reach the {} block",
        "reach the {} cube",
    ),
    "home": ("go home", "move to the middle"),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One wish: ``pick`` closes the gripper at the block of ``colour``, ``move`` only goes there.

    ``home`` goes to the middle of the table and has no colour.
    """

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
        return next((task for task in every_task(colours) if task.instruction == instruction), None)

    @classmethod
    def sample(cls, rng: np.random.Generator, colours: tuple[str, ...]) -> Task:
        """A random wish for one of ``colours``; never ``home``."""
        kind: Kind = "pick" if rng.random() < 0.5 else "move"
        return cls(kind, str(rng.choice(colours)), int(rng.integers(len(SENTENCES[kind]))))


def every_task(colours: tuple[str, ...]) -> tuple[Task, ...]:
    """Every wish in every wording about every one of ``colours``."""
    return tuple(
        Task(kind, colour, wording)
        for kind, texts in SENTENCES.items()
        for wording in range(len(texts))
        for colour in (colours if kind != "home" else ("",))
    )
