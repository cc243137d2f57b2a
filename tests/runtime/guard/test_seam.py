"""How far a new plan may be from what is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import twist_spec
from jetvla.runtime.guard.seam import Seam

TENTH = ChunkTiming(1, 0.1, 0.1)


def seam(spec: ActionSpec, timing: ChunkTiming = TENTH, limits: Limits | None = None) -> Seam:
    return Seam(spec, timing, limits or Limits())


def one(quantity: str, unit: str, semantics: str = "absolute") -> ActionSpec:
    raw = {"name": "q", "quantity": quantity, "unit": unit, "semantics": semantics, "frame": "base"}
    rotation = "rotation_vector" if quantity == "angular" else None
    return ActionSpec.model_validate({"dimensions": [raw], "rotation": rotation})


@pytest.mark.parametrize(
    ("spec", "bound", "sentence"),
    [
        (one("linear", "m"), 0.05, "q would jump by 0.0501 m; at most 0.05"),
        (one("joint", "rad"), 0.3, "q would jump by 0.3 rad; at most 0.3"),
        (one("joint", "m"), 0.05, "q would jump by 0.0501 m; at most 0.05"),
        (one("angular", "rad"), 0.3, "q would jump by 0.3 rad; at most 0.3"),
        # Twice the limits of acceleration, 0.5 m/s^2 or 1 rad/s^2, for 0.1 s.
        (one("linear", "m/s", "velocity"), 0.1, "q would jump by 0.1 m/s; at most 0.1"),
        (one("angular", "rad/s", "velocity"), 0.2, "q would jump by 0.2 rad/s; at most 0.2"),
        (one("joint", "rad/s", "velocity"), 0.2, "q would jump by 0.2 rad/s; at most 0.2"),
        (one("joint", "m", "delta"), 0.1, "q would jump by 0.1 m/s; at most 0.1"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_bounds(spec: ActionSpec, bound: float, sentence: str, sign: int) -> None:
    s = seam(spec)
    asked = np.array([0.7])
    assert s.problem(asked, asked + sign * (bound - 1e-4), 0.0) == ""
    assert s.problem(asked, asked + sign * (bound + 1e-4), 0.0) == sentence


@pytest.mark.parametrize("spec", [one("gripper", "1"), one("gripper", "m"), one("gripper", "1/s", "velocity")])
def test_grippers_open_and_close_at_once(spec: ActionSpec) -> None:
    assert seam(spec).problem(np.array([0.0]), np.array([1e30]), 0.0) == ""


def test_cartesian_axes_are_compared_by_their_norm() -> None:
    s = seam(twist_spec())
    assert s.problem(np.zeros(6), np.array([0.08, 0.05, 0, 0.15, 0, 0.1]), 0.0) == ""
    jump = s.problem(np.zeros(6), np.array([0.08, 0.08, 0, 0, 0, 0]), 0.0)
    assert jump == "x, y, z would jump by 0.113 m/s; at most 0.1"
    jump = s.problem(np.zeros(6), np.array([0, 0, 0, 0.15, 0, 0.15]), 0.0)
    assert jump == "roll, pitch, yaw would jump by 0.212 rad/s; at most 0.2"


def test_the_joint_that_jumps_is_named() -> None:
    joint = {"quantity": "joint", "unit": "rad", "semantics": "absolute"}
    spec = ActionSpec(dimensions=tuple(ActionDimension.model_validate({"name": f"j{i}", **joint}) for i in range(4)))
    assert seam(spec).problem(np.zeros(4), np.array([0.29, 0.29, -0.5, 0.29]), 0.0).startswith("j2 would jump by 0.5")


@pytest.mark.parametrize(
    ("timing", "held_s", "bound"),
    [
        (TENTH, 0.0, 0.1),
        (TENTH, 0.15, 0.15),
        (ChunkTiming(1, 0.2, 0.2), 0.0, 0.2),
        (ChunkTiming(20, 1 / 30, 20 / 30), 0.0, 0.1),
        (ChunkTiming(20, 1 / 30, 1 / 30), 0.0, 1 / 30),
    ],
)
def test_a_velocity_may_change_for_as_long_as_the_change_takes(
    timing: ChunkTiming, held_s: float, bound: float
) -> None:
    s = seam(one("linear", "m/s", "velocity"), timing)
    assert s.problem(np.zeros(1), np.array([bound - 1e-6]), held_s) == ""
    assert s.problem(np.zeros(1), np.array([bound + 1e-6]), held_s) != ""


def test_bounds_are_configured() -> None:
    limits = Limits(seam_m=0.01, seam_rad=0.02, seam_ratio=4.0, blend_s=0.05)
    timing = ChunkTiming(20, 0.01, 0.1)
    for spec, bound in (
        (one("linear", "m"), 0.01),
        (one("joint", "rad"), 0.02),
        (one("linear", "m/s", "velocity"), 4 * 0.5 * 0.05),
    ):
        s = seam(spec, timing, limits)
        assert s.problem(np.zeros(1), np.array([bound * 0.999]), 0.0) == ""
        assert s.problem(np.zeros(1), np.array([bound * 1.001]), 0.0) != ""


def test_a_velocity_limit_of_acceleration_is_the_robot_s_own() -> None:
    slow = Limits().scaled(linear=0.5)
    jump = seam(one("linear", "m/s", "velocity"), limits=slow).problem(np.zeros(1), np.array([0.06]), 0.0)
    assert jump == "q would jump by 0.06 m/s; at most 0.05"
