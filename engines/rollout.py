"""A policy in PyTorch on the simulated table robot, as the daemons would run it but in simulated time.

::

    python -m jetvla.engines.rollout CHECKPOINT --layouts 100

The loop has what the real one has between picture and motion: a period, a latency, and a guard's limits on speed
and acceleration.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.simulator.judge import Judge
from jetvla.calibration.simulator.scene import SEEDS, Scene, sample_scene, seeds
from jetvla.calibration.simulator.world import World
from jetvla.engines.policy import Policy
from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.preprocess import Resizer

TICK_S = 0.01


@dataclass(frozen=True)
class LoopSpec:
    """Seconds, m/s and m/s^2: ``latency_s`` is from a picture to the first command that it causes."""

    period_s: float = 0.1
    latency_s: float = 0.15
    speed: float = 0.25
    acceleration: float = 0.5


def roll_out(policy: Policy, scene: Scene, instruction: str | None = None, loop: LoopSpec = LoopSpec()) -> Judge:
    """One attempt in ``scene``; the policy hears ``instruction``, or the scene's own if None."""
    camera = policy.settings.cameras[0]
    resize = Resizer(camera.height, camera.width, policy.settings.resize)
    picture = np.empty((camera.height, camera.width, 3), np.uint8)
    index = [policy.settings.action.index(name) for name in ("x", "y")]
    gripper = policy.settings.action.index("gripper")
    world, judge = World(scene), Judge(0)
    every, delay = round(loop.period_s / TICK_S), round(loop.latency_s / TICK_S)
    due: dict[int, NDArray[np.float32]] = {}
    action = np.zeros(len(policy.settings.action), np.float32)
    velocity = np.zeros(2)
    tick = 0
    while not judge.over:
        if tick % every == 0:
            resize(world.image(), picture)
            due[tick + delay] = policy.act({camera.name: picture}, None, instruction or scene.task.instruction)[0]
        action = due.pop(tick, action)
        velocity = limited(action[index], velocity, loop)
        world.plant.command((float(velocity[0]), float(velocity[1])), seconds_to_ns(tick * TICK_S))
        world.plant.grip(float(action[gripper]))
        tick += 1
        world.plant.advance(seconds_to_ns(tick * TICK_S))
        judge.see(world.distance(), seconds_to_ns(tick * TICK_S))
    return judge


def limited(wanted: NDArray[np.float32], velocity: NDArray[np.float64], loop: LoopSpec) -> NDArray[np.float64]:
    """The velocity one tick after ``velocity``, towards ``wanted``, within the limits of each axis."""
    step = loop.acceleration * TICK_S
    target = np.clip(wanted, -loop.speed, loop.speed)
    return np.asarray(velocity + np.clip(target - velocity, -step, step), np.float64)


def main(argv: Sequence[str] | None = None) -> int:
    """Print how many layouts of a split a checkpoint solves, and how many with other blocks' instructions."""
    from jetvla.engines.checkpoint import load_checkpoint

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--layouts", type=int, default=100)
    parser.add_argument("--split", choices=tuple(SEEDS), default="held-out")
    arguments = parser.parse_args(argv)
    policy = load_checkpoint(arguments.checkpoint)
    scenes = [sample_scene(seed) for seed in seeds(arguments.split, 0, arguments.layouts)]
    judges = [roll_out(policy, scene) for scene in scenes]
    reached = [judge for judge in judges if judge.reached]
    seconds = float(np.median([judge.seconds for judge in reached])) if reached else float("nan")
    print(f"reached {len(reached)} of {len(scenes)}, median {seconds:.1f} s")
    shifted = [scene.task.instruction for scene in (*scenes[1:], scenes[0])]
    control = [roll_out(policy, scene, text).reached for scene, text in zip(scenes, shifted, strict=True)]
    print(f"control, with the instructions of other layouts: reached {sum(control)} of {len(scenes)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
