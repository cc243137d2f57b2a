"""Run the simulated table robot on ROS 2, or record demonstrations with it.

Without --record the robot publishes its camera on /camera/image_raw (sensor_msgs/Image, rgb8, 128 x 128) and
obeys /cmd_vel (geometry_msgs/Twist, x and y in m/s; it stops 0.25 s after the last one) and /gripper_command
(std_msgs/Float64, 0 open to 1 closed). It says which instruction its layout is for, and judges: reached is
within 3 cm of the named block for 0.5 s, inside 10 s from the first movement. Ctrl-C ends it.

With --record DIR an expert shows what to do, and --episodes files of DIR hold it. This needs no ROS.
Seeds of training, held-out and demo are apart: the same --seed is another layout in each --split.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jetvla.services.termination import ends_cleanly

if TYPE_CHECKING:
    from jetvla.runtime.ros.session import RosSession
    from jetvla.services.simulated_robot import SimulatedRobot

SPLITS = ("training", "held-out", "demo")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="first layout (default: %(default)s)")
    parser.add_argument("--split", choices=SPLITS, help="which layouts (default: training if recording, else demo)")
    parser.add_argument("--episodes", type=int, help="how many layouts (default: 20 if recording, else no end)")
    recording = parser.add_argument_group("recording")
    recording.add_argument("--record", type=Path, metavar="DIR", help="write demonstrations to DIR")
    recording.add_argument("--steps", type=int, default=40, help="steps of 0.1 s an episode (default: %(default)s)")
    recording.add_argument("--jobs", type=int, default=1, help="processes that record (default: %(default)s)")
    robot = parser.add_argument_group("ROS 2")
    robot.add_argument("--task", metavar="TEXT", help="instruction to judge by, about a block on the first table")
    robot.add_argument("--image-topic", default="/camera/image_raw", help="default: %(default)s")
    robot.add_argument("--command-topic", default="/cmd_vel", help="default: %(default)s")
    robot.add_argument("--gripper-topic", default="/gripper_command", help="default: %(default)s")
    robot.add_argument("--camera-hz", type=float, default=20.0, help="images per second (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    from jetvla.runtime.errors import ConfigError

    low = {"--episodes": arguments.episodes, "--steps": arguments.steps, "--jobs": arguments.jobs}
    wrong = [name for name, value in low.items() if value is not None and value < 1]
    if wrong or not 1 <= arguments.camera_hz <= 100:
        raise ConfigError(f"{', '.join(wrong) or '--camera-hz'} is out of range: at least 1, and at most 100 Hz")
    return _record(arguments) if arguments.record is not None else _serve(arguments)


@ends_cleanly()
def _record(arguments: argparse.Namespace) -> int:
    from jetvla.calibration.simulator.demonstrations import STEP_S, record
    from jetvla.calibration.simulator.scene import seeds

    numbers = seeds(arguments.split or "training", arguments.seed, arguments.episodes or 20)
    written = record(arguments.record, numbers, arguments.steps, arguments.jobs)
    print(f"{len(written)} episodes of {arguments.steps * STEP_S:.1f} s in {arguments.record}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from itertools import count, islice

    from jetvla.calibration.simulator.scene import sample_scene, seeds
    from jetvla.runtime.ros.session import RosSession
    from jetvla.services.simulated_robot import SimulatedRobot, Topics

    split = arguments.split or "demo"
    topics = Topics(arguments.image_topic, arguments.command_topic, arguments.gripper_topic)
    scene = sample_scene(seeds(split, arguments.seed, 1)[0])
    if arguments.task is not None:
        scene = scene.asked(arguments.task)
    with RosSession("table_robot") as session:
        robot = SimulatedRobot(scene, session, topics, arguments.camera_hz)
        for number in islice(count(arguments.seed), arguments.episodes):
            if number != arguments.seed:
                scene = sample_scene(seeds(split, number, 1)[0])
                robot.reset(scene)
            print(f"layout {number}: {', '.join(scene.colours)}; say {scene.task.instruction!r}", flush=True)
            _attempt(robot, session)
    return 0


def _attempt(robot: SimulatedRobot, session: RosSession) -> None:
    while not robot.moved:
        session.spin_once(0.1)
    judge = robot.begin()
    while not judge.over:
        session.spin_once(0.1)
    verdict = "reached" if judge.reached else "not reached"
    print(f"  {verdict} after {judge.seconds:.1f} s, closest {judge.closest * 100:.1f} cm", flush=True)
