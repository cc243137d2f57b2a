"""The table robot on real ROS 2, and the command line that records with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetvla.calibration.episodes import open_episodes
from jetvla.calibration.simulator.scene import SEEDS, sample_scene
from jetvla.runtime.errors import ConfigError
from jetvla.services.commands import simulate

PATIENCE_S = 60.0
SCENE = sample_scene(SEEDS["demo"][0])

# rclpy's own dependency lark imports it.
ROS = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]


def _simulate(*arguments: str) -> int:
    parser = ArgumentParser()
    simulate.configure(parser)
    return simulate.run(parser.parse_args(arguments))


def test_recording_needs_no_ros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert _simulate("--record", str(tmp_path / "new"), "--episodes", "2", "--steps", "3", "--split", "held-out") == 0
    episodes = open_episodes(tmp_path / "new")
    assert [e.name for e in episodes] == [f"episode_{seed:07d}" for seed in SEEDS["held-out"][:2]]
    assert [len(e) for e in episodes] == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--episodes", "0"), "--episodes is out of range"),
        (("--camera-hz", "0.5"), "--camera-hz is out of range"),
        (("--record", "x", "--seed", "-1"), "'training' has seeds 0 to 999999"),
        (("--task", "make coffee"), "is no task here"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _simulate(*arguments)


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "1")
    domain = (os.getpid() + 37) % 100 + 1
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    return domain


class Operator:
    """A node that sees the robot's camera and drives it."""

    def __init__(self, session: Any) -> None:
        from geometry_msgs.msg import Twist
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image
        from std_msgs.msg import Float64

        from jetvla.runtime.sinks.peers import COMMAND_QOS

        self.session = session
        self.images: list[Any] = []
        self._twist, self._float = Twist, Float64
        self._commands = session.node.create_publisher(Twist, "/cmd_vel", COMMAND_QOS)
        self._gripper = session.node.create_publisher(Float64, "/gripper_command", COMMAND_QOS)
        session.node.create_subscription(Image, "/camera/image_raw", self.images.append, qos_profile_sensor_data)

    def drive(self, x: float, y: float, closed: float) -> None:
        twist = self._twist()
        twist.linear.x, twist.linear.y = x, y
        self._commands.publish(twist)
        self._gripper.publish(self._float(data=closed))


@pytest.fixture
def operator(domain: int) -> Iterator[Operator]:
    from jetvla.runtime.ros.session import RosSession

    with RosSession("operator", domain_id=domain) as session:
        yield Operator(session)


def _until(done: Callable[[], bool], *acts: Callable[[], None]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < give_up, "nothing happened in a minute"
        for act in acts:
            act()


class TestOnRos:
    pytestmark = ROS

    @pytest.fixture
    def robot(self, domain: int) -> Iterator[Any]:
        from jetvla.runtime.ros.session import RosSession
        from jetvla.services.simulated_robot import SimulatedRobot

        with RosSession("table_robot", domain_id=domain) as session:
            robot = SimulatedRobot(SCENE, session)
            yield robot, lambda: session.spin_once(0.01)

    def test_it_shows_its_camera(self, robot: Any, operator: Operator) -> None:
        simulated, spin = robot
        _until(lambda: bool(operator.images), spin, lambda: operator.session.spin_once(0.01))
        message = operator.images[0]
        assert (message.height, message.width, message.step, message.encoding) == (128, 128, 384, "rgb8")
        age_s = time.time() - message.header.stamp.sec - message.header.stamp.nanosec * 1e-9
        assert 0 <= age_s < PATIENCE_S
        seen = np.frombuffer(message.data, np.uint8).reshape(128, 128, 3).astype(float)
        # Noise differs from picture to picture; layout and light do not.
        assert np.abs(seen - simulated.image).mean() < 8

    def test_it_obeys_and_stops_by_itself(self, robot: Any, operator: Operator) -> None:
        simulated, spin = robot
        x, y = simulated.world.plant.position
        towards = -0.1 if x > 0 else 0.1
        _until(
            lambda: abs(simulated.world.plant.position[0] - x) > 0.02 and simulated.world.plant.closed == 0.5,
            lambda: operator.drive(towards, 0.0, 0.5),
            spin,
        )
        assert simulated.moved
        _until(lambda: abs(simulated.world.plant.velocity[0]) < 1e-4, spin)
        assert simulated.world.plant.position[1] == pytest.approx(y, abs=1e-6)

    def test_it_judges_an_attempt(self, robot: Any, operator: Operator) -> None:
        simulated, spin = robot
        target = SCENE.target
        judge = simulated.begin()

        def towards() -> None:
            x, y = simulated.world.plant.position
            operator.drive(min(0.2, max(-0.2, 2 * (target.x - x))), min(0.2, max(-0.2, 2 * (target.y - y))), 0.0)

        _until(lambda: judge.over, towards, spin)
        assert judge.reached
        path = simulated.path
        assert path[-1].t_ns > path[0].t_ns
        assert np.hypot(path[-1].x - target.x, path[-1].y - target.y) < 0.03
        other = sample_scene(SEEDS["demo"][1])
        simulated.reset(other)
        assert simulated.judge is None
        assert not simulated.path
        assert not simulated.moved
        assert simulated.world.plant.position == other.start

    def test_the_command_drives_a_whole_attempt(self, domain: int, operator: Operator) -> None:
        script = "import sys; from argparse import ArgumentParser; from jetvla.services.commands import simulate as s\n"
        script += "p = ArgumentParser(); s.configure(p); sys.exit(s.run(p.parse_args(sys.argv[1:])))"
        command = [sys.executable, "-c", script, "--episodes", "1", "--seed", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                _until(
                    lambda: process.poll() is not None,
                    lambda: operator.drive(0.001, 0.0, 0.0),
                    lambda: operator.session.spin_once(0.02),
                )
                said = process.stdout.read() if process.stdout else ""
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
        assert process.returncode == 0
        assert SCENE.task.instruction in said
        assert "not reached after 10.0 s" in said
        assert operator.images
