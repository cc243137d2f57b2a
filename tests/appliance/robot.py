"""Runs inside the container: the simulated table robot, which also notes every command that reaches it, and when.

``robot.py FILE``: one JSON line a command, with its arrival on CLOCK_MONOTONIC, which container and host share.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist

from jetvla.calibration.simulator.scene import sample_scene, seeds
from jetvla.runtime.ros.session import RosSession
from jetvla.services.simulated_robot import SimulatedRobot


def main(path: Path) -> None:
    with path.open("a", encoding="utf-8", buffering=1) as notes, RosSession("table_robot") as session:

        def note(twist: Any) -> None:
            parts = (twist.linear, twist.angular)
            values = [getattr(part, axis) for part in parts for axis in "xyz"]
            notes.write(json.dumps({"t_ns": time.monotonic_ns(), "values": values}) + "\n")

        robot = SimulatedRobot(sample_scene(seeds("demo", 0, 1)[0]), session)
        session.node.create_subscription(Twist, "/cmd_vel", note, 100)
        while robot.image is not None:
            session.spin_once(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
