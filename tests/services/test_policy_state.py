"""A policy that takes the joints' positions, on real ROS 2: its state by name, and a robot that obeys trajectories."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")

from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from jetvla.runtime.config import load_config
from jetvla.runtime.link.protocol import ChunkMessage, Hello, Idle, IdleReason
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Spinner
from jetvla.runtime.telemetry.status import read_status
from jetvla.services.operator import OperatorConsole
from jetvla.services.supervisor import Daemons

from .joint_bundle import SIDE, make_joint_bundle

# rclpy's own dependency lark imports it.
pytestmark = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]

PATIENCE_S = 60.0
NAMES = {"elbow": "robot_elbow", "wrist": "robot_wrist"}


@pytest.fixture
def bundle(place: Path) -> Path:
    return make_joint_bundle(place)


@pytest.fixture
def pictures(place: Path) -> None:
    (place / "pictures").mkdir()
    random = np.random.default_rng(1)
    for number in range(30):
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(place / f"pictures/{number:03d}.png")


class Robot:
    """Is where its last trajectory ends, and says so in joint states, in its own order and under its own names."""

    def __init__(self, domain: int, resources: ExitStack) -> None:
        self.session = resources.enter_context(RosSession("robot", domain_id=domain))
        self.position = {"robot_wrist": 0.3, "wheel": 9.0, "robot_elbow": -0.2}
        self.obeyed: list[list[float]] = []
        self.node: Any = self.session.node
        self._states = self.node.create_publisher(JointState, "/joint_states", 10)

    def obey(self, message: JointTrajectory) -> None:
        self.obeyed.append(list(message.points[-1].positions))
        self.position |= dict(zip(message.joint_names, message.points[-1].positions, strict=True))

    def tell(self) -> None:
        message = JointState(name=list(self.position), position=list(self.position.values()))
        message.header.stamp = self.node.get_clock().now().to_msg()
        self._states.publish(message)


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    monkeypatch.setenv("ROS_LOCALHOST_ONLY", "1")
    domain = (os.getpid() + 71) % 100 + 1
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    return domain


@pytest.fixture
def robot(domain: int) -> Iterator[Robot]:
    with ExitStack() as resources:
        yield Robot(domain, resources)


@pytest.mark.usefixtures("bundle", "pictures")
def test_joint_states_become_the_policys_state_and_their_absence_is_told(
    configured: Callable[..., Path], guard: Any, start: Callable[[Path], Any], robot: Robot
) -> None:
    daemon = start(configured(state={"joints": NAMES}))
    guard.wait_for(lambda: guard.of(Idle))
    assert guard.of(Hello)[0].golden_passed
    assert guard.of(Idle)[0].reason is IdleReason.NO_STATE
    assert "/joint_states: the position of joint 'robot_elbow' has not come yet" in guard.of(Idle)[0].text
    assert not guard.of(ChunkMessage)

    def told(done: Callable[[], object]) -> Callable[[], object]:
        return lambda: robot.tell() or done()

    guard.wait_for(told(lambda: len(guard.of(ChunkMessage)) > 5))
    first = guard.of(ChunkMessage)[-1].actions
    # The picture's light moves the answer away from the state, by less than 0.02 rad a step.
    assert -0.2 < first[0, 0] < -0.2 + 0.02
    assert 0.3 < first[0, 1] < 0.3 + 0.04
    robot.position["robot_elbow"] = 0.6
    guard.wait_for(told(lambda: guard.of(ChunkMessage)[-1].actions[0, 0] > 0.6))
    idle = len(guard.of(Idle))
    guard.wait_for(lambda: len(guard.of(Idle)) > idle)
    told_first = guard.of(Idle)[idle]
    assert told_first.reason is IdleReason.NO_STATE
    assert "'robot_elbow' is 0.2" in told_first.text
    assert daemon.end() == 0


@pytest.mark.usefixtures("bundle", "pictures")
def test_a_robot_with_joints_is_moved_and_held_where_it_is_when_the_policy_dies(
    configured: Callable[..., Path], robot: Robot
) -> None:
    path = configured(
        state={"joints": NAMES},
        guard={
            "outputs": [{"kind": "joint_trajectory", "topic": "/trajectory", "joints": NAMES}],
            "feedback": {"kind": "joint_states", "joints": NAMES},
            # A host may take a virtual machine's processors away for a while; that is not what is looked at here.
            "limits": {"period_ratio": 30, "late_chunks": 30, "feedback_age_s": 1.0},
        },
    )
    robot.node.create_subscription(JointTrajectory, "/trajectory", robot.obey, 10)
    robot.node.create_timer(0.02, robot.tell)
    config = load_config(path)
    with closing(Spinner(robot.session)), Daemons(path) as daemons, OperatorConsole(config) as operator:
        operator.arm(PATIENCE_S, PATIENCE_S)
        give_up = time.monotonic() + PATIENCE_S
        while not robot.obeyed or robot.obeyed[-1][0] < -0.15:
            assert time.monotonic() < give_up, read_status(config.status)
            time.sleep(0.01)
        os.kill(daemons.processes["policy"].pid, signal.SIGKILL)
        while read_status(config.status).state != "DISARMED":
            assert time.monotonic() < give_up, read_status(config.status)
            time.sleep(0.01)
    obeyed = np.array(robot.obeyed)
    np.testing.assert_allclose(obeyed[0], [-0.2, 0.3], atol=0.01)
    assert np.abs(np.diff(obeyed, axis=0)).max() < 0.05, "no jump, and never to zero"
    assert (obeyed[-50:] == obeyed[-1]).all()
    assert obeyed[-1][0] > -0.15
