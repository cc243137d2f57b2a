"""One scene that lives: the plant moves, the camera looks. Time is given from outside, so it is exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.simulator.camera import Camera
from jetvla.calibration.simulator.plant import Plant
from jetvla.calibration.simulator.scene import Scene


class World:
    """The table robot in one scene.

    Args:
        scene: layout, look and task.
        t_ns: the time now.
        start: first position of the gripper (x, y), metres; the scene's own if None.
    """

    def __init__(self, scene: Scene, t_ns: int = 0, start: tuple[float, float] | None = None) -> None:
        self.scene = scene
        self.plant = Plant(scene.start if start is None else start, t_ns)
        self._camera = Camera(scene)

    def image(self) -> NDArray[np.uint8]:
        """What the camera sees now: uint8 [128, 128, 3] RGB, with fresh noise at every call."""
        return self._camera.image(*self.plant.position, self.plant.closed)

    def distance(self) -> float:
        """Horizontal metres from the gripper to where it is wanted."""
        (x, y), (goal_x, goal_y) = self.plant.position, self.scene.goal
        return float(np.hypot(goal_x - x, goal_y - y))
