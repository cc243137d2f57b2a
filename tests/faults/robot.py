"""The simulated robot, and what DDS tells its driver of the guard."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from jetvla.calibration.simulator.scene import sample_scene, seeds

from .rig import READY_S, within
from .rows import MARGIN_S, ROWS, note

# What the guard's publisher offers.
DEADLINE_S = 0.1
LEASE_S = 0.25
# Less than this a robot at full speed has gone in half a millisecond.
STILL_M = 1e-4
# Places from which the robot's speed is taken, 10 ms apart.
NOTED = 10


class WatchedRobot:
    """A robot on /cmd_vel that notes where it was, and when deadline and liveliness of its commands were lost."""

    def __init__(self) -> None:
        from geometry_msgs.msg import Twist
        from rclpy.duration import Duration
        from rclpy.event_handler import SubscriptionEventCallbacks
        from rclpy.qos import LivelinessPolicy, QoSProfile

        from jetvla.runtime.ros.session import RosSession
        from jetvla.runtime.ros.spinner import Spinner
        from jetvla.services.simulated_robot import SimulatedRobot, Topics

        with ExitStack() as resources:
            session = resources.enter_context(RosSession("table_robot"))
            # At the edge of the table, with room to go.
            scene = replace(sample_scene(seeds("demo", 0, 1)[0]), start=(-0.19, 0.0))
            self._robot = SimulatedRobot(scene, session, Topics(image="/unused"), camera_hz=1.0)
            self._scene = scene
            self.alive = False
            self.missed: list[int] = []
            self.lost: list[int] = []
            qos = QoSProfile(
                depth=1,
                deadline=Duration(nanoseconds=round(DEADLINE_S * 1e9)),
                liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
                liveliness_lease_duration=Duration(nanoseconds=round(LEASE_S * 1e9)),
            )
            events = SubscriptionEventCallbacks(deadline=self._on_deadline, liveliness=self._on_liveliness)
            session.node.create_subscription(Twist, "/cmd_vel", lambda _: None, qos, event_callbacks=events)
            resources.enter_context(closing(Spinner(session)))
            within(READY_S, lambda: self.alive, "the robot hears of a living guard")
            self._resources = resources.pop_all()

    def _on_deadline(self, event: Any) -> None:
        self.missed.append(time.monotonic_ns())

    def _on_liveliness(self, event: Any) -> None:
        self.alive = event.alive_count > 0
        if event.alive_count_change < 0:
            self.lost.append(time.monotonic_ns())

    def begin(self) -> None:
        """Note places from now on."""
        self._robot.begin()
        self._began_ns = time.monotonic_ns()
        within(2, lambda: len(self._robot.path) > NOTED, "places are noted")
        self.missed.clear()
        self.lost.clear()

    def halted(self, name: str, fault_ns: int) -> None:
        """The fault of row ``name`` was noticed by the driver, and the robot stood still in time, at a place on the
        table that nothing but its own time-out can have stopped it at."""
        row = ROWS[name]
        within(5, lambda: self.missed, "the deadline is missed")
        within(5, lambda: self.lost, "liveliness is lost")
        time.sleep(1.0)
        path = self._robot.path
        t_s = np.array([place.t_ns for place in path]) / 1e9 + (self._began_ns - fault_ns) / 1e9
        places = np.array([(place.x, place.y) for place in path])
        assert np.abs(places).max() < 0.2, "it reached the end of the table"
        steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
        before = t_s < 0
        assert (places[before][-1] - places[before][-NOTED])[0] / (t_s[before][-1] - t_s[before][-NOTED]) > 0.2, (
            "full speed"
        )
        rest_s = float(t_s[1:][steps > STILL_M][-1])
        deadline_s, lease_s = ((times[0] - fault_ns) / 1e9 for times in (self.missed, self.lost))
        reasons = [f"deadline missed ({deadline_s * 1e3:.0f} ms)", f"liveliness lost ({lease_s * 1e3:.0f} ms)"]
        note(name, row.state, reasons, min(deadline_s, lease_s), rest_s)
        assert deadline_s <= DEADLINE_S + MARGIN_S
        assert lease_s <= LEASE_S + MARGIN_S
        assert row.bound_s is not None
        assert rest_s <= row.bound_s

    def __enter__(self) -> WatchedRobot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._resources.close()
