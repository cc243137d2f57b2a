"""What is around the daemons: a robot's driver that notes every command, a camera, an operator's switches."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .camera import BreakableCamera

HEARTBEAT_S = 0.05
NICENESS = -10


@dataclass(frozen=True)
class Sent:
    """One Twist: when it arrived (monotonic ns), and the norm of its linear part in m/s."""

    t_ns: int
    speed: float
    turn: float = 0.0


class Bench:
    """What is around the daemons, on one node: the robot's driver, a camera, a deadman switch, an e-stop button."""

    def __init__(self, node: Any, camera_hz: float | None) -> None:
        from geometry_msgs.msg import Twist
        from rclpy.clock import Clock, ClockType
        from std_msgs.msg import Bool, String

        from jetvla.runtime.ros.qos import STATE_QOS

        self.sent: list[Sent] = []
        self.state = "unknown"
        self.holding = True
        self._node, self._bool = node, Bool
        self.drive(Twist)
        node.create_subscription(String, "/jetvla_guard/state", self._see, STATE_QOS)
        self.camera = None if camera_hz is None else BreakableCamera(node, camera_hz)
        self._deadman = node.create_publisher(Bool, "/jetvla_guard/deadman", 10)
        self._estop = node.create_publisher(Bool, "/jetvla_guard/estop", 10)
        self._hurried = False
        node.create_timer(HEARTBEAT_S, self._beat, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def drive(self, kind: type[Any]) -> None:
        """Take commands of ``kind`` from now on."""
        self.driver = self._node.create_subscription(kind, "/cmd_vel", self._note, 10)

    def _note(self, twist: Any) -> None:
        linear, angular = twist.linear, twist.angular
        speed = float(np.linalg.norm([linear.x, linear.y, linear.z]))
        turn = float(np.linalg.norm([angular.x, angular.y, angular.z]))
        self.sent.append(Sent(time.monotonic_ns(), speed, turn))

    def _see(self, state: Any) -> None:
        self.state = json.loads(state.data)["state"]

    def _beat(self) -> None:
        if not self._hurried:
            self._hurried = True
            # This thread alone: a real camera and a real switch do not wait for a test's processor.
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        if self.holding:
            self.hold(True)

    def hold(self, held: bool) -> int:
        """One heartbeat of the deadman switch; when it was sent."""
        t_ns = time.monotonic_ns()
        self._deadman.publish(self._bool(data=held))
        return t_ns

    def release(self) -> int:
        """Let go of the deadman switch, which says so; when."""
        self.holding = False
        return self.hold(False)

    def press(self, pressed: bool) -> int:
        """Press or release the emergency stop; when."""
        t_ns = time.monotonic_ns()
        self._estop.publish(self._bool(data=pressed))
        return t_ns
