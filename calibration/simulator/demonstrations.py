"""Demonstrations by the expert, disturbed on purpose.

Noise is added to what the gripper *does* and never to what is recorded, so that the recording shows
how to recover (DART: Laskey et al., "DART: Noise Injection for Robust Imitation Learning", CoRL 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes import write_episode
from jetvla.calibration.simulator import expert
from jetvla.calibration.simulator.plant import WORKSPACE_HALF_M
from jetvla.calibration.simulator.scene import Scene, sample_scene
from jetvla.calibration.simulator.task import SENTENCES, Task
from jetvla.calibration.simulator.world import World
from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.workers import workers

STEP_S = 0.1
_NOISE_M_S = 0.12
_NOISE_STEPS = 3  # a push lasts this long
# Where a demonstration begins: anywhere, near the goal (where precision is needed), or over some block (which
# must be left if it is the wrong one).
_STARTS = (0.6, 0.3, 0.1)
_NEAR_M = 0.045
# Tables with few blocks, and tasks without any, teach where the gripper and a block are before the words matter.
_COUNTS = (1, 2, 3, 3)
_HOME_PROBABILITY = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Demonstration:
    """What was seen, uint8 [T, 128, 128, 3], and what the expert would do there, float32 [T, 7]."""

    instruction: str
    images: NDArray[np.uint8]
    actions: NDArray[np.float32]


def demonstrate(seed: int, steps: int) -> Demonstration:
    """``steps`` moments, :data:`STEP_S` apart, in the scene of ``seed``, from a random place."""
    rng = np.random.default_rng([seed, 2])
    scene = sample_scene(seed, _COUNTS)
    if rng.random() < _HOME_PROBABILITY:
        scene = replace(scene, task=Task("home", "", int(rng.integers(len(SENTENCES["home"])))))
    world = World(scene, start=_start(rng, scene))
    images, actions = [], []
    push = np.zeros(2)
    for step in range(steps):
        if step % _NOISE_STEPS == 0:
            push = rng.normal(0.0, _NOISE_M_S, 2)
        action = expert.act(scene, world.plant.position)
        images.append(world.image())
        actions.append(action)
        _move(world, action, push, step)
    return Demonstration(scene.task.instruction, np.stack(images), np.stack(actions))


def record(directory: Path, seeds: Sequence[int], steps: int, jobs: int = 1) -> list[Path]:
    """Write one episode per seed into ``directory``, made if it is missing; returns the files in order.

    Args:
        directory: where to; files of the same seeds are replaced.
        seeds: see :data:`jetvla.calibration.simulator.scene.SEEDS`.
        steps: T of every episode.
        jobs: processes that share the work.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write = partial(_write, directory, steps)
    if jobs == 1:
        return [write(seed) for seed in seeds]
    with workers(jobs) as pool:
        return list(pool.map(write, seeds, chunksize=32))


def _write(directory: Path, steps: int, seed: int) -> Path:
    shown = demonstrate(seed, steps)
    path = directory / f"episode_{seed:07d}.hdf5"
    write_episode(path, shown.images, shown.instruction, shown.actions)
    return path


def _move(world: World, action: NDArray[np.float32], push: NDArray[np.float64], step: int) -> None:
    begin, end = seconds_to_ns(step * STEP_S), seconds_to_ns((step + 1) * STEP_S)
    world.plant.command((float(action[0] + push[0]), float(action[1] + push[1])), begin)
    world.plant.grip(float(action[6]))
    world.plant.advance(end)


def _start(rng: np.random.Generator, scene: Scene) -> tuple[float, float]:
    kind = rng.choice(len(_STARTS), p=_STARTS)
    if kind == 0:
        place = rng.uniform(-WORKSPACE_HALF_M, WORKSPACE_HALF_M, 2)
    else:
        block = scene.blocks[rng.integers(len(scene.blocks))]
        place = rng.normal(scene.goal if kind == 1 else (block.x, block.y), _NEAR_M)
    x, y = np.clip(place, -WORKSPACE_HALF_M, WORKSPACE_HALF_M)
    return float(x), float(y)
