"""What policy and guard would refuse at their start is found without starting them, and without ROS 2."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import Config, RosCamera
from jetvla.services.bundle_fit import refusals, unsent
from jetvla.services.cli import main

JOINT = {"quantity": "joint", "unit": "rad", "semantics": "absolute"}
SPEC = ActionSpec(
    dimensions=(
        ActionDimension(name="elbow", **JOINT),
        ActionDimension(name="wrist", **JOINT),
        ActionDimension(name="grip", quantity="gripper", unit="1", semantics="absolute"),
    )
)
TRAJECTORY, GRIPPER = {"kind": "joint_trajectory"}, {"kind": "gripper", "dimension": "grip"}


@pytest.fixture
def arm(tiny_bundle: Path) -> Bundle:
    """Of two joints and a gripper, with a state."""
    opened = Bundle.open(tiny_bundle, None)
    manifest = opened.manifest.model_copy(update={"action": SPEC, "state": ("elbow", "wrist")})
    return dataclasses.replace(opened, manifest=manifest)


def config(*outputs: dict[str, Any], state: Any = {"topic": "/joint_states"}, **guard: Any) -> Config:  # noqa: B006
    cameras = {"front": {"kind": "ros"}}
    return Config.model_validate(
        {"bundle": "b", "cameras": cameras, "state": state, "guard": {"outputs": outputs, **guard}}
    )


def test_what_goes_together_is_not_refused(arm: Bundle) -> None:
    fits = config(TRAJECTORY, GRIPPER, feedback={"kind": "joint_states", "joints": {"elbow": "joint_1"}})
    assert refusals(fits, arm) == []
    assert unsent(fits, SPEC) is None
    assert unsent(config({"kind": "log", "path": "x"}), SPEC) is None


def test_dimensions_that_no_output_takes_are_told(arm: Bundle) -> None:
    partly = config({**TRAJECTORY, "joints": {"elbow": "joint_1"}})
    assert refusals(partly, arm) == []
    assert unsent(partly, SPEC) == "no output takes the action dimensions wrist, grip"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (config({**TRAJECTORY, "joints": {"elbo": "a"}}), "'elbo' is not an absolute joint of this bundle"),
        (config({**TRAJECTORY, "joints": {"elbow": "a", "wrist": "a"}}), "two action dimensions move a"),
        (config({"kind": "gripper", "dimension": "claw"}), "'claw' is not an absolute gripper dimension"),
        (config({"kind": "gripper", "dimension": "elbow"}), "'elbow' is not an absolute gripper dimension"),
        (config({"kind": "twist"}), "the twist's linear names 'x'"),
        (config({"kind": "twist_stamped"}), "the twist's linear names 'x'"),
        (
            config({"kind": "twist_stamped", "linear": [None] * 3, "angular": [None] * 3}),
            "a stamped twist has one frame",
        ),
        (config(TRAJECTORY, feedback={"kind": "joint_states", "joints": {"elbo": "a"}}), "guard.feedback.joints: elbo"),
        (
            config(TRAJECTORY, limits={"workspace": {"frame": "base", "low": [0, 0, 0], "high": [1, 1, 1]}}),
            "guard.limits.workspace needs to know where the robot is",
        ),
        (
            config(TRAJECTORY).model_copy(update={"cameras": {"wrist": RosCamera(kind="ros")}}),
            "cameras: the bundle has front, and the configuration wrist",
        ),
        (config(TRAJECTORY, state=None), "needs the joint states elbow, wrist; name their topic"),
        (config(TRAJECTORY, state={"joints": {"elbo": "a"}}), "state.joints: the bundle has no state elbo"),
    ],
)
def test_what_does_not_go_together_is_refused_once(arm: Bundle, wrong: Config, why: str) -> None:
    (said,) = refusals(wrong, arm)
    assert why in said


def test_every_refusal_is_told(arm: Bundle) -> None:
    said = refusals(config(TRAJECTORY | {"joints": {"elbo": "a"}}, GRIPPER | {"dimension": "claw"}), arm)
    assert ["elbo" in said[0], "claw" in said[1], len(said)] == [True, True, 2]


TINY = """
bundle: bundle
cameras: {front: {kind: video, path: clip.mp4}}
guard: {outputs: [{kind: twist}, {kind: gripper, dimension: GRIP}]}
"""


def test_config_check_looks_at_the_bundle(signed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = signed_bundle.parent / "jetvla.yaml"
    path.write_text(TINY.replace("GRIP", "gripper"))
    assert main(["config", "check", str(path)]) == 0
    assert "right, also for the bundle" in capsys.readouterr().out
    path.write_text(TINY.replace(", {kind: gripper, dimension: GRIP}", ""))
    assert main(["config", "check", str(path)]) == 0
    assert "WARNING: no output takes the action dimensions gripper" in capsys.readouterr().out
    path.write_text(TINY.replace("GRIP", "gripper").replace("guard: {", "guard: {limits: {joint: {velocity: 9}}, "))
    assert main(["config", "check", str(path)]) == 0
    assert "WARNING: guard.limits.joint.velocity: 9 is 18 times the default of 0.5 rad/s" in capsys.readouterr().out
    path.write_text(TINY.replace("GRIP", "claw"))
    assert main(["config", "check", str(path)]) == 1
    assert "do not go together:\nguard.outputs: 'claw' is not an absolute gripper" in capsys.readouterr().err
    (signed_bundle / "manifest.json").unlink()
    assert main(["config", "check", str(path)]) == 0
    assert "were not held against a bundle: " in capsys.readouterr().out
