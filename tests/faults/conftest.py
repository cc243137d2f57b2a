"""The real daemons on real ROS 2, and a robot's driver that notes every command."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from jetvla.runtime.config import load_config
from jetvla.runtime.telemetry.status import Status, read_status
from jetvla.services.operator import OperatorConsole
from jetvla.services.supervisor import Daemons

READY_S = 60.0
# The tiny policy has random weights: its motion changes with every picture, and its gripper is out of range.
UNCOUNTED = {"excess_count": 10**9, "excess_window": 10**9, "seam_ratio": 1e9}


@dataclass(frozen=True)
class Sent:
    """One Twist: when it arrived (monotonic ns), and the norm of its linear part in m/s."""

    t_ns: int
    speed: float


def within(seconds: float, condition: Callable[[], bool], what: str) -> None:
    """Wait until ``condition()``; fail naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


class Rig:
    """Both daemons of one configuration, a driver on /cmd_vel, and an operator."""

    def __init__(self, folder: Path, resources: ExitStack, settings: dict[str, object]) -> None:
        from geometry_msgs.msg import Twist

        from jetvla.runtime.ros.session import RosSession
        from jetvla.runtime.ros.spinner import Spinner

        self.path = folder / "jetvla.yaml"
        self.path.write_text(yaml.safe_dump(settings))
        self.config = load_config(self.path)
        self.sent: list[Sent] = []
        driver = resources.enter_context(RosSession("driver"))
        driver.node.create_subscription(Twist, "/cmd_vel", self._note, 10)
        resources.enter_context(closing(Spinner(driver)))
        self.daemons = resources.enter_context(Daemons(self.path))
        self.operator = resources.enter_context(OperatorConsole(self.config))
        within(READY_S, self.config.status.exists, "the guard reports")

    def published(self) -> NDArray[np.float64]:
        """Speeds [N] in m/s of every command that the guard has published, none lost on the way."""
        lines = (self.path.parent / "commands.jsonl").read_text().splitlines()
        values = [json.loads(line)["values"] for line in lines]
        return np.array([np.linalg.norm([v["x"], v["y"], v["z"]]) for v in values])

    def _note(self, twist: Any) -> None:
        linear = twist.linear
        speed = float(np.linalg.norm([linear.x, linear.y, linear.z]))
        self.sent.append(Sent(time.monotonic_ns(), speed))

    def status(self) -> Status:
        return read_status(self.config.status)

    def arm(self) -> None:
        """Arm as soon as the guard agrees."""
        self.operator.arm(READY_S, READY_S)

    def move(self) -> None:
        """Arm, and wait until the robot moves at speed."""
        self.arm()
        within(5, lambda: bool(self.sent) and self.sent[-1].speed > 0.1, "the robot moves")

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a daemon; when, in monotonic nanoseconds."""
        os.kill(self.daemons.processes[name].pid, number)
        return time.monotonic_ns()


@pytest.fixture(scope="session", autouse=True)
def own_domain() -> Iterator[None]:
    """Nobody else's nodes are seen, and nobody else sees these."""
    former = os.environ.get("ROS_DOMAIN_ID")
    os.environ["ROS_DOMAIN_ID"] = str(101 + os.getpid() % 100)
    yield
    os.environ.pop("ROS_DOMAIN_ID")
    if former is not None:
        os.environ["ROS_DOMAIN_ID"] = former


@pytest.fixture
def settings(tmp_path: Path, signed_bundle: Path) -> dict[str, object]:
    """A signed bundle, moving pictures for a camera, an instruction from the start."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "run").mkdir()
    rng = np.random.default_rng(0)
    for index in range(8):
        picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48))
        cv2.imwrite(str(tmp_path / f"pictures/{index}.png"), picture)
    return {
        "bundle": "bundle",
        "trusted": "keys",
        "run_dir": "run",
        "cameras": {"front": {"kind": "frames", "path": "pictures", "loop": True}},
        "instruction": {"text": "pick up the red block", "ttl_s": None},
        "guard": {"limits": UNCOUNTED, "outputs": [{"kind": "twist"}, {"kind": "log", "path": "commands.jsonl"}]},
    }


@pytest.fixture
def start(tmp_path: Path, settings: dict[str, object]) -> Iterator[Callable[[], Rig]]:
    """Starts a rig with ``settings`` as the test left them."""
    pytest.importorskip("rclpy", reason="needs rclpy: pip install 'jetvla[ros]'")
    with ExitStack() as resources:
        yield lambda: Rig(tmp_path, resources, settings)
