"""The table robot on ROS 2: publishes its camera, obeys a Twist. A daemon cannot tell it from a real one."""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.simulator.judge import Judge
from jetvla.calibration.simulator.scene import Scene
from jetvla.calibration.simulator.world import World
from jetvla.runtime.clock import NS_PER_S, Clock, MonotonicClock
from jetvla.runtime.ros.session import RosSession

MOTION_HZ = 100.0
CAMERA_HZ = 20.0


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of what the robot publishes and obeys."""

    image: str = "/camera/image_raw"
    command: str = "/cmd_vel"
    gripper: str = "/gripper_command"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the gripper was: ``t_ns`` after the attempt began, (x, y) in metres."""

    t_ns: int
    x: float
    y: float


class SimulatedRobot:
    """One table robot on a ROS node; it lives while somebody spins ``session``.

    Every method and property may be used from any thread.

    Args:
        scene: the first scene.
        session: the node that it uses; closing it is the caller's task.
        topics: names to use.
        camera_hz: images per second.
        clock: drives the robot's motion.
    """

    def __init__(
        self,
        scene: Scene,
        session: RosSession,
        topics: Topics = Topics(),
        camera_hz: float = CAMERA_HZ,
        clock: Clock | None = None,
    ) -> None:
        from geometry_msgs.msg import Twist
        from rclpy.clock import Clock as RosClock
        from rclpy.clock import ClockType
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image
        from std_msgs.msg import Float64

        self._clock = clock or MonotonicClock()
        self._lock = threading.Lock()
        self._message = Image
        self._node = session.node
        self.reset(scene)
        self._images = self._node.create_publisher(Image, topics.image, qos_profile_sensor_data)
        self._node.create_subscription(Twist, topics.command, self._on_command, 10)
        self._node.create_subscription(Float64, topics.gripper, self._on_gripper, 10)
        # A timer on the node's own clock would wait for an hour when the wall clock is set back by one.
        steady = RosClock(clock_type=ClockType.STEADY_TIME)
        self._node.create_timer(1.0 / MOTION_HZ, self._move, clock=steady)
        self._node.create_timer(1.0 / camera_hz, self._look, clock=steady)

    def reset(self, scene: Scene) -> None:
        """Put the robot at rest into ``scene``; nothing is judged until :meth:`begin`."""
        with self._lock:
            self.world = World(scene, self._clock.now_ns())
            self.judge: Judge | None = None
            self._began_ns = 0
            self._path: list[Place] = []
            self._image = self.world.image()
            self._moved = False

    def begin(self) -> Judge:
        """Start the attempt now: its ten seconds run."""
        with self._lock:
            self._began_ns = self._clock.now_ns()
            self.judge = Judge(self._began_ns)
            self._path = []
            return self.judge

    @property
    def image(self) -> NDArray[np.uint8]:
        """The last picture: uint8 [128, 128, 3] RGB."""
        with self._lock:
            return self._image

    @property
    def path(self) -> tuple[Place, ...]:
        """Where the gripper has been since :meth:`begin`, at :data:`MOTION_HZ`."""
        with self._lock:
            return tuple(self._path)

    @property
    def moved(self) -> bool:
        """Whether a Twist other than zero has come since :meth:`reset`."""
        with self._lock:
            return self._moved

    def _on_command(self, twist: Any) -> None:
        with self._lock:
            now = self._clock.now_ns()
            self.world.plant.advance(now)
            self.world.plant.command((twist.linear.x, twist.linear.y), now)
            self._moved = self._moved or bool(twist.linear.x or twist.linear.y)

    def _on_gripper(self, message: Any) -> None:
        with self._lock:
            self.world.plant.grip(message.data)

    def _move(self) -> None:
        with self._lock:
            now = self._clock.now_ns()
            self.world.plant.advance(now)
            if self.judge is not None:
                self.judge.see(self.world.distance(), now)
                self._path.append(Place(now - self._began_ns, *self.world.plant.position))

    def _look(self) -> None:
        with self._lock:
            self.world.plant.advance(self._clock.now_ns())
            # The stamp is the moment of capture, so it is taken before the picture is drawn.
            stamp = self._node.get_clock().now()
            self._image = self.world.image()
        seconds, nanoseconds = divmod(stamp.nanoseconds, NS_PER_S)
        message = self._message(encoding="rgb8", step=self._image.shape[1] * 3)
        message.header.frame_id = "camera"
        message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
        message.height, message.width = self._image.shape[:2]
        # An array is taken as it is; anything else is checked byte by byte.
        message.data = array("B", self._image.tobytes())
        self._images.publish(message)
