"""Shows how it is done: a proportional controller with a speed cap that knows where the named block is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.simulator.scene import Scene
from jetvla.runtime.action_spec import ActionDimension, ActionSpec

# Gain times the loop's delay (0.15 s) stays well below 1, so that a policy that imitates this does not
# overshoot; gain times speed stays below a guard's 0.5 m/s^2.
GAIN_PER_S = 1.5
SPEED_M_S = 0.2
# The jaws close little by little: a policy learns a ramp sooner than a step.
GRIP_FROM_M, GRIP_TO_M = 0.10, 0.02

FRAME = "base_link"
ACTION = ActionSpec(
    rotation="roll_pitch_yaw",
    dimensions=(
        *(
            ActionDimension(
                name=axis,
                quantity="linear",
                unit="m/s",
                semantics="velocity",
                frame=FRAME,
                range=(-0.25, 0.25),
            )
            for axis in ("x", "y", "z")
        ),
        *(
            ActionDimension(
                name=axis,
                quantity="angular",
                unit="rad/s",
                semantics="velocity",
                frame=FRAME,
                range=(-1.0, 1.0),
            )
            for axis in ("roll", "pitch", "yaw")
        ),
        ActionDimension(name="gripper", quantity="gripper", unit="1", semantics="absolute", range=(0.0, 1.0)),
    ),
)


def act(scene: Scene, position: tuple[float, float]) -> NDArray[np.float32]:
    """The right action at ``position`` (x, y): float32 [7], in the units of :data:`ACTION`.

    It depends on the position alone, so that a policy without memory can learn it. Height and
    rotation rates are zero, because the gripper hovers.
    """
    error = np.array(scene.goal) - position
    distance = float(np.hypot(*error))
    speed = min(SPEED_M_S, GAIN_PER_S * distance)
    action = np.zeros(len(ACTION), np.float32)
    if distance > 0:
        action[:2] = error / distance * speed
    if scene.task.kind == "pick":
        action[6] = np.clip((GRIP_FROM_M - distance) / (GRIP_FROM_M - GRIP_TO_M), 0.0, 1.0)
    return action
