"""The loop around a policy in simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.calibration.simulator import expert
from jetvla.calibration.simulator.scene import SEEDS, Scene, sample_scene
from jetvla.engines import rollout
from jetvla.engines.rollout import LoopSpec, limited, roll_out
from jetvla.runtime.manifest import CameraSpec, ResizeSpec

SCENES = [sample_scene(seed) for seed in SEEDS["held-out"][:5]]


@dataclass
class Settings:
    action = expert.ACTION
    cameras = (CameraSpec(name="front", height=64, width=64),)
    resize = ResizeSpec(method="opencv_area", fit="stretch")


class Told:
    """A policy that gives one answer, and notes what it sees and hears."""

    settings = Settings()

    def __init__(self, x: float, y: float) -> None:
        self.answer = np.array([[x, y, 0, 0, 0, 0, 0.5]], np.float32)
        self.seen: list[NDArray[np.uint8]] = []
        self.heard: set[str] = set()

    def act(self, images: Mapping[str, NDArray[np.uint8]], state: None, instruction: str) -> NDArray[np.float32]:
        self.seen.append(images["front"].copy())
        self.heard.add(instruction)
        return self.answer


class Cheat(Told):
    """Knows where the block is: the expert, by way of the world that the loop makes."""

    def __init__(self, worlds: list[Any]) -> None:
        super().__init__(0, 0)
        self.worlds = worlds

    def act(self, images: Mapping[str, NDArray[np.uint8]], state: None, instruction: str) -> NDArray[np.float32]:
        world = self.worlds[-1]
        return expert.act(world.scene, world.plant.position)[None]


def test_limits_hold_for_every_axis() -> None:
    loop = LoopSpec()
    velocity = np.zeros(2)
    for _ in range(200):
        after = limited(np.array([1.0, -0.1], np.float32), velocity, loop)
        assert np.abs(after - velocity).max() <= loop.acceleration * rollout.TICK_S + 1e-9
        velocity = after
    assert velocity == pytest.approx([loop.speed, -0.1])


def test_the_policy_sees_its_own_size_ten_times_a_second() -> None:
    policy: Any = Told(0.0, 0.0)
    judge = roll_out(policy, SCENES[0])
    assert not judge.reached
    assert len(policy.seen) == 101
    assert {image.shape for image in policy.seen} == {(64, 64, 3)}
    assert policy.heard == {SCENES[0].task.instruction}


def test_another_instruction_is_passed_on() -> None:
    policy: Any = Told(0.1, 0.0)
    roll_out(policy, SCENES[0], "go home")
    assert policy.heard == {"go home"}
    assert np.abs(policy.seen[-1].astype(int) - policy.seen[0]).max() > 60


@pytest.mark.parametrize("scene", SCENES)
def test_the_expert_succeeds_with_latency_and_limits(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds: list[Any] = []
    real = rollout.World
    monkeypatch.setattr(rollout, "World", lambda scene: worlds.append(real(scene)) or worlds[-1])
    policy: Any = Cheat(worlds)
    assert roll_out(policy, scene).reached
