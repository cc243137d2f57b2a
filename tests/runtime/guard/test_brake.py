"""The last resort."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import blocks_of
from jetvla.runtime.guard.brake import Brake
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import twist_spec

GRIPPER = ActionDimension(name="g", quantity="gripper", unit="1", semantics="absolute")
SPEC = ActionSpec(dimensions=(*twist_spec().dimensions, GRIPPER), rotation="rotation_vector")


def test_rates_fall_by_the_deceleration_limit_and_positions_stay() -> None:
    brake = Brake(blocks_of(SPEC, Limits()), 0.01)
    slowed = brake.apply(np.array([0.15, 0.2, 0.0, 0.0, 0.0, -0.5, 0.7]))
    assert slowed.tolist() == pytest.approx([0.6 * 0.24, 0.8 * 0.24, 0.0, 0.0, 0.0, -0.48, 0.7])


def test_it_ends_at_exactly_zero() -> None:
    brake = Brake(blocks_of(SPEC, Limits()), 0.01)
    values = np.array([0.15, 0.2, 0.0, 0.0, 0.0, -0.5, 0.7])
    for _ in range(26):
        values = brake.apply(values)
    assert values.tolist() == [0, 0, 0, 0, 0, 0, 0.7]


def test_each_group_is_slowed_by_itself() -> None:
    dimensions = tuple(
        ActionDimension(name=n, quantity="joint", unit="rad/s", semantics="velocity") for n in ("a", "b", "c")
    )
    brake = Brake(blocks_of(ActionSpec(dimensions=dimensions), Limits()), 0.01)
    assert brake.apply(np.array([0.5, -0.3, 0.01])).tolist() == pytest.approx([0.48, -0.28, 0.0])
