"""A guard that takes over from another goes on from where that one left the robot."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.rig import GuardRig

GRIPPER = ActionSpec(
    dimensions=(ActionDimension(name="gripper", quantity="gripper", unit="1", semantics="absolute"),), rotation=None
)


def test_a_gripper_that_nobody_measures_starts_from_where_it_was_left() -> None:
    rig = GuardRig(spec=GRIPPER)
    rig.guard.resume(np.array([0.75]))
    rig.arm()
    rig.run(1.0, action=[0.25])
    commands = rig.commands()[:, 0]
    assert 0.7 < commands[0] <= 0.75
    assert (np.diff(commands) <= 0).all()
    assert abs(commands[-1] - 0.25) < 0.01
