"""The table robot: layouts, pictures, motion, expert and judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jetvla.calibration.episodes import open_episodes
from jetvla.calibration.simulator import expert
from jetvla.calibration.simulator.camera import SIZE_PX, Camera, project
from jetvla.calibration.simulator.demonstrations import demonstrate, record
from jetvla.calibration.simulator.judge import Judge
from jetvla.calibration.simulator.plant import COMMAND_TIMEOUT_S, WORKSPACE_HALF_M, Plant
from jetvla.calibration.simulator.scene import (
    COLOURS,
    SEEDS,
    SPACING_M,
    START_CLEARANCE_M,
    TABLE_HALF_M,
    sample_scene,
    seeds,
)
from jetvla.calibration.simulator.task import Task, every_task
from jetvla.calibration.simulator.world import World
from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.errors import ConfigError

HELD_OUT = SEEDS["held-out"][:100]


def test_splits_share_no_seed() -> None:
    taken = [(r.start, r.stop) for r in SEEDS.values()]
    assert all(a[1] <= b[0] or b[1] <= a[0] for a in taken for b in taken if a is not b)


def test_seeds_stay_in_their_split() -> None:
    assert seeds("demo", 3, 2) == range(2_000_003, 2_000_005)
    with pytest.raises(ConfigError, match="'demo' has seeds 0 to 99999"):
        seeds("demo", 99_999, 2)


@pytest.mark.parametrize("seed", HELD_OUT)
def test_a_layout_keeps_its_promises(seed: int) -> None:
    scene = sample_scene(seed)
    assert scene == sample_scene(seed)
    assert 3 <= len(scene.colours) <= 4
    assert len(set(scene.colours)) == len(scene.colours)
    assert set(scene.colours) <= set(COLOURS)
    places = np.array([(b.x, b.y) for b in scene.blocks])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + np.eye(len(places))
    assert apart.min() >= SPACING_M
    assert np.hypot(scene.start[0] - scene.target.x, scene.start[1] - scene.target.y) >= START_CLEARANCE_M
    assert scene.target.colour in scene.task.instruction


def test_layouts_differ() -> None:
    scenes = [sample_scene(seed) for seed in HELD_OUT]
    assert len({s.blocks for s in scenes}) == len(scenes)
    assert {s.task.kind for s in scenes} == {"pick", "move"}
    assert {s.task.colour for s in scenes} == set(COLOURS)


def test_a_sentence_becomes_the_task_that_says_it() -> None:
    scene = sample_scene(HELD_OUT[0])
    for colour in scene.colours:
        asked = scene.asked(f"grab the {colour} cube")
        assert asked.task.kind == "pick"
        assert asked.target.colour == colour
    for wrong in ("grab the purple cube", "make coffee"):
        with pytest.raises(ConfigError, match="is no task here"):
            scene.asked(wrong)


def test_every_sentence_is_understood() -> None:
    tasks = every_task(COLOURS)
    assert len({task.instruction for task in tasks}) == len(tasks)
    assert [Task.parse(task.instruction, COLOURS) for task in tasks] == list(tasks)


def test_home_is_the_middle() -> None:
    scene = sample_scene(HELD_OUT[0]).asked("go home")
    assert scene.goal == (0.0, 0.0)
    assert expert.act(scene, (0.1, 0.0))[:2] == pytest.approx((-0.1 * expert.GAIN_PER_S, 0.0))
    with pytest.raises(ValueError, match="'go home' names no block"):
        _ = scene.target


def test_the_whole_table_is_in_the_picture() -> None:
    corner = TABLE_HALF_M
    corners = np.array([[x, y, 0.0] for x in (-corner, corner) for y in (-corner, corner)])
    pixels = project(corners)
    assert pixels.min() > 0
    assert pixels.max() < SIZE_PX


def test_forward_is_up_and_left_is_left() -> None:
    middle, forward, left = project(np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]]))
    assert forward[1] < middle[1] - 5
    assert left[0] < middle[0] - 5


def test_the_same_seed_gives_the_same_pictures() -> None:
    scene = sample_scene(HELD_OUT[1])
    first, second = Camera(scene), Camera(scene)
    for _ in range(2):
        image = first.image(0.0, 0.1, 0.0)
        assert image.shape == (SIZE_PX, SIZE_PX, 3)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, second.image(0.0, 0.1, 0.0))
    assert (image != first.image(0.0, 0.1, 0.0)).any()


@pytest.mark.parametrize("seed", HELD_OUT[:12])
def test_every_block_shows_its_colour_where_it_lies(seed: int) -> None:
    scene = sample_scene(seed)
    corner = (WORKSPACE_HALF_M, -WORKSPACE_HALF_M)
    image = Camera(scene).image(*corner, 0.0).astype(float)
    for block in scene.blocks:
        if np.hypot(block.x - corner[0], block.y - corner[1]) < 0.15:
            continue
        u, v = np.round(project(np.array([[block.x, block.y, 0.03]]))[0]).astype(int)
        seen = image[v - 1 : v + 1, u - 1 : u + 1].mean(axis=(0, 1)) / np.array(scene.look.gain)
        wanted = np.array(block.rgb)
        cosine = seen @ wanted / (np.linalg.norm(seen) * np.linalg.norm(wanted))
        assert cosine > 0.985, f"{block.colour} looks like {seen}"


def test_the_gripper_and_its_jaws_are_seen() -> None:
    camera = Camera(sample_scene(HELD_OUT[2]))
    here, there, closed = (camera.image(*p).astype(int) for p in ((0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.0, 1.0)))
    assert (np.abs(here - there).max(axis=2) > 60).sum() > 50
    assert (np.abs(here - closed).max(axis=2) > 60).sum() > 10


def _driven(plant: Plant, velocity: tuple[float, float], seconds: float, start_s: float = 0.0) -> None:
    for tenth in range(round(seconds * 10)):
        now = start_s + tenth * 0.1
        plant.command(velocity, seconds_to_ns(now))
        plant.advance(seconds_to_ns(now + 0.1))


def test_the_plant_follows_a_velocity() -> None:
    plant = Plant((0.0, 0.0))
    _driven(plant, (0.1, -0.05), 2.0)
    assert plant.position == pytest.approx((0.2 - 0.1 * 0.05, -0.1 + 0.05 * 0.05), abs=2e-3)
    assert plant.velocity == pytest.approx((0.1, -0.05), abs=1e-6)


def test_the_plant_does_not_care_how_often_it_is_asked() -> None:
    coarse, fine = Plant((0.0, 0.0)), Plant((0.0, 0.0))
    for plant in (coarse, fine):
        plant.command((0.2, 0.0), 0)
    coarse.advance(seconds_to_ns(0.2))
    for tick in range(1, 101):
        fine.advance(seconds_to_ns(0.002 * tick))
    assert coarse.position == pytest.approx(fine.position, abs=1e-3)


def test_the_plant_stops_without_commands() -> None:
    plant = Plant((0.0, 0.0))
    _driven(plant, (0.2, 0.0), 0.5)
    plant.advance(seconds_to_ns(0.4 + COMMAND_TIMEOUT_S))
    assert plant.velocity[0] == pytest.approx(0.2, abs=1e-3)
    plant.advance(seconds_to_ns(0.4 + COMMAND_TIMEOUT_S + 0.5))
    stopped = plant.position
    plant.advance(seconds_to_ns(5.0))
    assert plant.position == pytest.approx(stopped, abs=1e-4)


def test_the_plant_stays_in_its_workspace() -> None:
    plant = Plant((0.2, 0.0))
    _driven(plant, (0.25, 0.0), 1.0)
    assert plant.position[0] == WORKSPACE_HALF_M
    assert plant.velocity[0] == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_plant_ignores_what_is_no_number(bad: float) -> None:
    plant = Plant((0.0, 0.0))
    plant.command((bad, 0.1), 0)
    plant.grip(bad if bad != bad else 2.0)
    plant.advance(seconds_to_ns(0.2))
    assert plant.position == (0.0, 0.0)
    assert plant.closed == (0.0 if bad != bad else 1.0)


@pytest.mark.parametrize("seed", HELD_OUT)
def test_the_expert_reaches_every_block(seed: int) -> None:
    world = World(sample_scene(seed))
    judge = Judge(0)
    for tenth in range(101):
        action = expert.act(world.scene, world.plant.position)
        assert np.hypot(*action[:2]) <= expert.SPEED_M_S + 1e-6
        assert not action[2:6].any()
        world.plant.command((float(action[0]), float(action[1])), seconds_to_ns(tenth * 0.1))
        world.plant.advance(seconds_to_ns((tenth + 1) * 0.1))
        judge.see(world.distance(), seconds_to_ns((tenth + 1) * 0.1))
    assert judge.reached
    assert judge.seconds < 8
    assert action[6] == (1.0 if world.scene.task.kind == "pick" else 0.0)


def test_the_expert_stands_still_at_the_block() -> None:
    scene = sample_scene(HELD_OUT[3])
    assert not expert.act(scene, (scene.target.x, scene.target.y))[:6].any()


def _judged(distances: list[float], step_s: float = 0.1) -> Judge:
    judge = Judge(0)
    for tick, distance in enumerate(distances):
        judge.see(distance, seconds_to_ns(tick * step_s))
    return judge


def test_the_judge_wants_half_a_second_without_a_break() -> None:
    assert not _judged([0.2, 0.03, 0.02, 0.02, 0.02, 0.02]).reached
    reached = _judged([0.2, 0.03, 0.02, 0.02, 0.02, 0.02, 0.01])
    assert reached.reached
    assert reached.seconds == pytest.approx(0.6)
    assert reached.closest == 0.01
    assert not _judged([0.02, 0.02, 0.02, 0.031, 0.02, 0.02, 0.02, 0.02]).reached


def test_the_judge_gives_ten_seconds() -> None:
    in_time = _judged([0.2] * 95 + [0.01] * 6)
    assert in_time.reached
    late = _judged([0.2] * 97 + [0.01] * 20)
    assert late.over
    assert not late.reached


def test_demonstrations_show_recoveries() -> None:
    shown = demonstrate(SEEDS["training"][5], 20)
    again = demonstrate(SEEDS["training"][5], 20)
    np.testing.assert_array_equal(shown.images, again.images)
    assert shown.images.shape == (20, SIZE_PX, SIZE_PX, 3)
    assert shown.actions.shape == (20, len(expert.ACTION))
    assert shown.actions.dtype == np.float32
    # An undisturbed expert at a proportional gain never speeds up.
    speeds = np.hypot(shown.actions[:, 0], shown.actions[:, 1])
    assert (np.diff(speeds) > 0.005).any()


def test_recorded_episodes_are_read_back(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    numbers = seeds("training", 10, 3)
    assert [p.name for p in record(alone, numbers, 4)] == [f"episode_{n:07d}.hdf5" for n in numbers]
    record(shared, numbers, 4, jobs=2)
    for one, other, number in zip(open_episodes(alone), open_episodes(shared), numbers, strict=True):
        shown = demonstrate(number, 4)
        assert one.instructions[0] == shown.instruction
        np.testing.assert_array_equal(one.actions, shown.actions)
        for episode in (one, other):
            np.testing.assert_array_equal(np.stack(list(episode.images("image", range(4)))), shown.images)
