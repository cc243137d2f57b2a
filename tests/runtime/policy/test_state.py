"""The policy's state: by name, fresh and whole, or not at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.policy.state import JointSense, Numb
from jetvla.runtime.robot_config import StateConfig

NAMES = ("elbow", "wrist")


def message(**positions: float) -> Any:
    return SimpleNamespace(header=None, name=list(positions), position=list(positions.values()))


def sense(clock: FakeClock, **joints: str) -> JointSense:
    return JointSense(StateConfig(joints=joints, stamp="arrival"), NAMES, clock)


def test_it_is_in_the_manifests_order_under_the_robots_names() -> None:
    joints = sense(FakeClock(), wrist="arm_joint_6")
    joints.receive(message(arm_joint_6=0.25, other=3.0, elbow=-0.5))
    felt = joints.feel()
    assert felt.dtype == np.float32
    assert felt.tolist() == [-0.5, 0.25]


def test_a_joint_that_never_came_or_is_old_is_named() -> None:
    clock = FakeClock()
    joints = sense(clock)
    with pytest.raises(Numb, match="/joint_states: the position of joint 'elbow' has not come yet"):
        joints.feel()
    joints.receive(message(elbow=0.5))
    with pytest.raises(Numb, match="'wrist' has not come yet"):
        joints.feel()
    clock.advance(0.15)
    joints.receive(message(wrist=0.5))
    assert joints.feel().tolist() == [0.5, 0.5]
    clock.advance(0.06)
    with pytest.raises(Numb, match=r"'elbow' is 0\.210 s old"):
        joints.feel()


@pytest.mark.parametrize(
    ("joints", "says"),
    [({"knee": "k"}, "no state knee; its states are elbow, wrist"), ({"wrist": "elbow"}, "elbow would be two states")],
)
def test_a_mapping_that_does_not_fit_the_bundle_is_refused(joints: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        sense(FakeClock(), **joints)
