"""An output that does not fit the action is refused when it is opened, by name and with the remedy."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.robot_config import OutputConfig
from jetvla.runtime.sinks import open_sink

pytestmark = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]

OUTPUT: TypeAdapter[Any] = TypeAdapter(OutputConfig)
ALONG = [None, None, None]


def _velocity(name: str, frame: str) -> ActionDimension:
    return ActionDimension(name=name, quantity="linear", unit="m/s", semantics="velocity", frame=frame)


SPEC = ActionSpec(
    dimensions=(
        _velocity("x", "base_link"),
        _velocity("y", "odom"),
        _velocity("z", ""),
        ActionDimension(name="height", quantity="linear", unit="m", semantics="absolute", frame="base_link"),
        ActionDimension(name="elbow", quantity="joint", unit="rad", semantics="absolute"),
        ActionDimension(name="wrist", quantity="joint", unit="rad", semantics="absolute"),
        ActionDimension(name="spin", quantity="joint", unit="rad/s", semantics="velocity"),
        ActionDimension(name="slip", quantity="joint", unit="rad", semantics="delta"),
    )
)


class NoNode:
    """Nothing may be opened before the configuration has been checked."""

    @property
    def node(self) -> Any:
        raise AssertionError("a publisher was opened")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"kind": "twist", "linear": ["w", None, None], "angular": ALONG}, "'w', but this bundle's action has x, y"),
        ({"kind": "twist", "linear": ["height", None, None], "angular": ALONG}, "'height' is an absolute linear"),
        ({"kind": "twist", "linear": ["elbow", None, None], "angular": ALONG}, "'elbow' is an absolute joint"),
        ({"kind": "twist", "linear": ALONG, "angular": ["x", None, None]}, "needs a angular velocity"),
        ({"kind": "twist", "linear": ["y", None, None], "angular": ALONG}, "frame 'odom', not 'base_link'"),
        (
            {"kind": "twist_stamped", "linear": ["x", "y", None], "angular": ALONG},
            "states 'base_link', 'odom' for x, y",
        ),
        ({"kind": "twist_stamped", "linear": ["z", None, None], "angular": ALONG}, "states '' for z"),
        ({"kind": "twist_stamped", "linear": ALONG, "angular": ALONG}, "states none for no dimension"),
        (
            {"kind": "joint_trajectory", "joints": {"spin": "spin"}},
            r"'spin' is not an absolute joint .*\(elbow, wrist\)",
        ),
        ({"kind": "joint_trajectory", "joints": {"slip": "slip"}}, "'slip' is not an absolute joint"),
        ({"kind": "joint_trajectory", "joints": {"height": "lift"}}, "'height' is not an absolute joint"),
        ({"kind": "joint_trajectory", "joints": {"elbow": "a", "wrist": "a"}}, "two action dimensions move a"),
        ({"kind": "gripper"}, "'gripper' is not an absolute gripper dimension of this bundle .it has none."),
    ],
)
def test_an_output_that_does_not_fit_is_refused(output: dict[str, Any], message: str) -> None:
    session: Any = NoNode()
    with pytest.raises(ConfigError, match=message):
        open_sink(OUTPUT.validate_python(output), SPEC, session, 0.01)


def test_a_trajectory_of_a_bundle_without_joints_is_refused() -> None:
    session: Any = NoNode()
    with pytest.raises(ConfigError, match="no absolute joint; use an output of another kind"):
        open_sink(
            OUTPUT.validate_python({"kind": "joint_trajectory"}),
            ActionSpec(dimensions=(SPEC.dimensions[0],)),
            session,
            0.01,
        )
