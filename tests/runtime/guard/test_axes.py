"""Grouping of dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import absolute_mask, blocks_of, bounds_of, norms
from jetvla.runtime.guard.limits import Limits


def dimension(name: str, quantity: str, unit: str, semantics: str, **more: object) -> ActionDimension:
    return ActionDimension.model_validate(
        {"name": name, "quantity": quantity, "unit": unit, "semantics": semantics, **more}
    )


SPEC = ActionSpec(
    dimensions=(
        dimension("x", "linear", "m/s", "velocity", frame="left"),
        dimension("u", "linear", "m/s", "velocity", frame="right"),
        dimension("y", "linear", "m/s", "velocity", frame="left"),
        dimension("v", "linear", "m/s", "velocity", frame="right"),
        dimension("w", "linear", "m/s", "velocity", frame="right"),
        dimension("yaw", "angular", "rad", "delta", frame="left", range=(-0.1, 0.05)),
        dimension("j1", "joint", "rad", "absolute", range=(-1.0, 2.0)),
        dimension("j2", "joint", "rad", "absolute"),
        dimension("rail", "joint", "m/s", "velocity", range=(0.2, 0.3)),
        dimension("g", "gripper", "1", "absolute"),
        dimension("h", "gripper", "1", "absolute", range=(0.1, 0.9)),
    ),
    rotation="rotation_vector",
)


def test_cartesian_dimensions_share_a_norm_per_frame_and_others_are_alone() -> None:
    limits = Limits()
    found = {(tuple(map(tuple, b.index.tolist())), b.rate, b.absolute) for b in blocks_of(SPEC, limits)}
    assert found == {
        (((0, 2),), limits.linear, False),
        (((1, 3, 4),), limits.linear, False),
        (((5,),), limits.angular, False),
        (((6,), (7,)), limits.joint, True),
        (((8,),), limits.prismatic, False),
        (((9,), (10,)), limits.gripper, True),
    }


def test_every_dimension_is_in_exactly_one_group() -> None:
    index = np.concatenate([b.index.ravel() for b in blocks_of(SPEC, Limits())])
    assert sorted(index.tolist()) == list(range(len(SPEC)))


def test_absolute_dimensions() -> None:
    assert np.flatnonzero(absolute_mask(SPEC)).tolist() == [6, 7, 9, 10]


def test_bounds() -> None:
    low, high = bounds_of(SPEC, dt_s=0.1)
    bounds = dict(zip(SPEC.names, zip(low.tolist(), high.tolist(), strict=True), strict=True))
    assert bounds["x"] == (-np.inf, np.inf)
    assert bounds["yaw"] == pytest.approx((-1.0, 0.5))
    assert bounds["j1"] == (-1.0, 2.0)
    assert bounds["j2"] == (-np.inf, np.inf)
    assert bounds["rail"] == (0.0, 0.3)
    assert bounds["g"] == (0.0, 1.0)
    assert bounds["h"] == (0.1, 0.9)


def test_norms() -> None:
    assert norms(np.array([[3.0, 4.0], [0.0, -2.0]])).tolist() == [[5.0], [2.0]]
    assert norms(np.array([[-3.0], [4.0]])).tolist() == [[3.0], [4.0]]
