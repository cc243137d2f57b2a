"""What lies on the table, how it looks, and what is asked for: everything random, decided once per seed.

Metres, in the frame of the table's centre: x forward (up in the image), y left, z up.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace

import numpy as np

from jetvla.calibration.simulator.task import Task
from jetvla.runtime.errors import ConfigError

TABLE_HALF_M = 0.22
BLOCK_REACH_M = 0.16
SPACING_M = 0.10
START_REACH_M = 0.18
START_CLEARANCE_M = 0.12
BLOCK_COUNTS = (3,)

# Seeds of layouts. No seed is in two of them, so nothing evaluated was seen in training.
SEEDS: dict[str, range] = {
    "training": range(0, 1_000_000),
    "held-out": range(1_000_000, 1_100_000),
    "demo": range(2_000_000, 2_100_000),
}

# Hue in degrees, and how far it may stray from one block to the next.
HUES: dict[str, tuple[float, float]] = {
    "red": (0.0, 4.0),
    "green": (125.0, 12.0),
    "blue": (217.0, 8.0),
}
COLOURS = tuple(HUES)

Rgb = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Block:
    """A square block."""

    colour: str
    rgb: Rgb
    x: float
    y: float
    yaw: float
    size: float


@dataclass(frozen=True, slots=True)
class Look:
    """Light, table, camera: ``gain`` per channel, ``gradient`` the relative slope of light along x and y."""

    table: Rgb
    grain: float
    streaks: bool
    gain: Rgb
    gradient: tuple[float, float]
    shadow: tuple[float, float]
    noise: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One layout with its task.

    Attributes:
        seed: what it was made from; the same seed gives the same scene and the same pictures.
        blocks: coloured blocks, each colour at most once.
        start: the gripper's first position (x, y), metres.
        look: how it is seen.
        task: what is asked for; its colour, if it has one, is on the table.
    """

    seed: int
    blocks: tuple[Block, ...]
    start: tuple[float, float]
    look: Look
    task: Task

    @property
    def target(self) -> Block:
        """The block that the task names; ValueError if it names none."""
        for block in self.blocks:
            if block.colour == self.task.colour:
                return block
        raise ValueError(f"{self.task.instruction!r} names no block")

    @property
    def goal(self) -> tuple[float, float]:
        """Where the gripper is wanted (x, y), metres."""
        return (0.0, 0.0) if self.task.kind == "home" else (self.target.x, self.target.y)

    @property
    def colours(self) -> tuple[str, ...]:
        """Colours that can be asked for here."""
        return tuple(b.colour for b in self.blocks)

    def asked(self, instruction: str) -> Scene:
        """This layout with another task; ConfigError if the sentence asks for no block on the table."""
        task = Task.parse(instruction, self.colours)
        if task is None:
            raise ConfigError(
                f"{instruction!r} is no task here; say for example {self.task.instruction!r}, "
                f"with one of {', '.join(self.colours)}"
            )
        return replace(self, task=task)


def seeds(split: str, first: int, count: int) -> range:
    """``count`` seeds of a split of :data:`SEEDS`; ConfigError if it has not so many from ``first`` on."""
    whole = SEEDS[split]
    if first < 0 or first + count > len(whole):
        raise ConfigError(f"split {split!r} has seeds 0 to {len(whole) - 1}, not {first} to {first + count - 1}")
    return whole[first : first + count]


def sample_scene(seed: int, counts: tuple[int, ...] = BLOCK_COUNTS) -> Scene:
    """The scene of ``seed`` with one of ``counts`` coloured blocks; see :data:`SEEDS` for the use of seeds."""
    rng = np.random.default_rng(seed)
    blocks = _blocks(rng, int(rng.choice(counts)))
    task = Task.sample(rng, tuple(b.colour for b in blocks))
    target = next(b for b in blocks if b.colour == task.colour)
    start = _place(rng, [(target.x, target.y)], START_REACH_M, START_CLEARANCE_M)
    return Scene(seed, blocks, start, _look(rng), task)


def _blocks(rng: np.random.Generator, count: int) -> tuple[Block, ...]:
    colours = [str(c) for c in rng.permutation(COLOURS)[:count]]
    places: list[tuple[float, float]] = []
    for _ in colours:
        places.append(_place(rng, places, BLOCK_REACH_M, SPACING_M))
    return tuple(
        Block(c, _paint(rng, c), x, y, float(rng.uniform(0, np.pi / 2)), float(rng.uniform(0.05, 0.06)))
        for c, (x, y) in zip(colours, places, strict=True)
    )


def _place(
    rng: np.random.Generator, taken: list[tuple[float, float]], reach: float, clearance: float
) -> tuple[float, float]:
    while True:
        x, y = (float(v) for v in rng.uniform(-reach, reach, 2))
        if all(np.hypot(x - a, y - b) >= clearance for a, b in taken):
            return x, y


def _paint(rng: np.random.Generator, colour: str) -> Rgb:
    hue, spread = HUES[colour]
    degrees = (hue + float(rng.uniform(-spread, spread))) % 360
    return colorsys.hsv_to_rgb(degrees / 360, float(rng.uniform(0.75, 0.95)), float(rng.uniform(0.7, 0.92)))


def _look(rng: np.random.Generator) -> Look:
    value, warmth = float(rng.uniform(0.35, 0.75)), float(rng.uniform(-0.07, 0.07))
    brightness = float(rng.uniform(0.75, 1.2))
    tint = float(rng.uniform(0.0, 0.22))
    return Look(
        table=(value, value * (1 - tint * 0.5), value * (1 - tint)),
        grain=float(rng.uniform(0.01, 0.05)),
        streaks=bool(rng.random() < 0.5),
        gain=(brightness * (1 + warmth), brightness, brightness * (1 - warmth)),
        gradient=(float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.2, 0.2))),
        shadow=(float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.4, 0.4))),
        noise=float(rng.uniform(1.0, 5.0)),
    )
