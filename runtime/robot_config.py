"""Sections of ``jetvla.yaml`` that say how the robot is told what to do, and how it tells where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from jetvla.runtime.ros_names import Topic


class Section(BaseModel):
    """Base of every part of the file: unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _resolve(cls, value: Any, info: ValidationInfo) -> Any:
        """Paths are relative to the configuration file, not to the process's folder."""
        base = (info.context or {}).get("folder")
        return base / value if isinstance(value, Path) and base is not None else value


Stamp = Literal["header", "arrival"]


class TwistOutput(Section):
    """geometry_msgs/Twist. ``linear`` and ``angular`` name the action dimensions of x, y, z; null sends 0."""

    kind: Literal["twist"]
    topic: Topic = "/cmd_vel"
    frame: str = "base_link"
    linear: tuple[str | None, str | None, str | None] = ("x", "y", "z")
    angular: tuple[str | None, str | None, str | None] = ("roll", "pitch", "yaw")


class TwistStampedOutput(Section):
    """geometry_msgs/TwistStamped, as :class:`TwistOutput`. Its frame is the one that the action spec states."""

    kind: Literal["twist_stamped"]
    topic: Topic = "/cmd_vel"
    linear: tuple[str | None, str | None, str | None] = ("x", "y", "z")
    angular: tuple[str | None, str | None, str | None] = ("roll", "pitch", "yaw")


class JointTrajectoryOutput(Section):
    """trajectory_msgs/JointTrajectory from absolute joints.

    ``joints`` maps action dimensions to the robot's joint names; null takes every absolute joint by its own name.
    """

    kind: Literal["joint_trajectory"]
    topic: Topic = "/joint_trajectory_controller/joint_trajectory"
    joints: dict[str, str] | None = Field(default=None, min_length=1)


class GripperOutput(Section):
    """std_msgs/Float64 from one absolute gripper dimension."""

    kind: Literal["gripper"]
    topic: Topic = "/gripper_command"
    dimension: str = "gripper"


class LogOutput(Section):
    """JSON lines, one a command: for trials without a robot."""

    kind: Literal["log"]
    path: Path


OutputConfig = Annotated[
    TwistOutput | TwistStampedOutput | JointTrajectoryOutput | GripperOutput | LogOutput, Field(discriminator="kind")
]


class NoFeedback(Section):
    """The robot does not tell where it is."""

    kind: Literal["none"] = "none"


class JointFeedback(Section):
    """sensor_msgs/JointState. ``joints`` maps action dimensions to joint names; what is left out has its own name.

    ``stamp: arrival`` is for publishers whose header stamps are zero or of simulated time.
    """

    kind: Literal["joint_states"]
    topic: Topic = "/joint_states"
    joints: dict[str, str] = Field(default_factory=dict)
    stamp: Stamp = "header"


class PoseFeedback(Section):
    """geometry_msgs/PoseStamped of what the policy moves, in ``frame``; a message in another frame is not taken.

    ``axes`` names the action dimensions of x, y, z; those that are absolute positions are measured by it.
    """

    kind: Literal["pose"]
    topic: Topic = "/pose"
    frame: str = "base_link"
    axes: tuple[str | None, str | None, str | None] = ("x", "y", "z")
    stamp: Stamp = "header"


def _spelled_out(value: Any) -> Any:
    return {"kind": "none"} if value == "none" else value


FeedbackConfig = Annotated[
    NoFeedback | JointFeedback | PoseFeedback, Field(discriminator="kind"), BeforeValidator(_spelled_out)
]


class StateConfig(Section):
    """The policy's own view of the joints: sensor_msgs/JointState.

    ``joints`` maps the names of the manifest's ``state`` to joint names; what is left out has its own name.
    """

    topic: Topic = "/joint_states"
    joints: dict[str, str] = Field(default_factory=dict)
    stamp: Stamp = "header"
