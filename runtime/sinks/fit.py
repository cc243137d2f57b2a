"""Which action dimensions an output takes, and whether they are of its kind. Needs no ROS 2."""

from __future__ import annotations

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.robot_config import GripperOutput, JointTrajectoryOutput, OutputConfig, TwistOutput
from jetvla.runtime.sinks.twist_axes import TwistAxes


def dimensions_of(output: OutputConfig, spec: ActionSpec) -> tuple[str, ...]:
    """Names of the dimensions that ``output`` sends; ConfigError if they do not fit."""
    if output.kind == "twist":
        return twist_axes(output, spec).dimensions
    if output.kind == "twist_stamped":
        axes = TwistAxes(output, spec)
        only_frame(axes)
        return axes.dimensions
    if output.kind == "joint_trajectory":
        return tuple(joints(output, spec))
    if output.kind == "gripper":
        gripper_index(output, spec)
        return (output.dimension,)
    return spec.names


def twist_axes(config: TwistOutput, spec: ActionSpec) -> TwistAxes:
    """ConfigError if the action is expressed in another frame than the robot takes."""
    axes = TwistAxes(config, spec)
    if others := axes.frames - {config.frame}:
        raise ConfigError(
            f"guard.outputs: the action is expressed in frame {', '.join(map(repr, sorted(others)))}, not "
            f"{config.frame!r}; set the output's frame to the one in which the robot takes its twist"
        )
    return axes


def only_frame(axes: TwistAxes) -> str:
    """The frame of a stamped twist; ConfigError if there is none, or more than one."""
    if len(axes.frames) != 1 or "" in axes.frames:
        found = ", ".join(repr(frame) for frame in sorted(axes.frames)) or "none"
        raise ConfigError(
            f"guard.outputs: a stamped twist has one frame, and the action spec states {found} for "
            f"{', '.join(axes.dimensions) or 'no dimension'}; state one frame in the action spec and build again"
        )
    return next(iter(axes.frames))


def joints(config: JointTrajectoryOutput, spec: ActionSpec) -> dict[str, str]:
    """Joint names by action dimension; ConfigError for one that is no absolute joint, or a name that is there twice."""
    absolute = [d.name for d in spec.dimensions if d.quantity == "joint" and d.semantics == "absolute"]
    chosen = {name: name for name in absolute} if config.joints is None else dict(config.joints)
    if wrong := [name for name in chosen if name not in absolute]:
        raise ConfigError(
            f"guard.outputs: {', '.join(map(repr, wrong))} is not an absolute joint of this bundle "
            f"({', '.join(absolute) or 'it has none'}); name some of these, or use an output of another kind"
        )
    if not chosen:
        raise ConfigError("guard.outputs: this bundle has no absolute joint; use an output of another kind")
    targets = list(chosen.values())
    if twice := sorted({joint for joint in targets if targets.count(joint) > 1}):
        raise ConfigError(f"guard.outputs: two action dimensions move {', '.join(twice)}; give each its own joint")
    return chosen


def gripper_index(config: GripperOutput, spec: ActionSpec) -> int:
    """Place of the gripper in the action; ConfigError if it is no absolute gripper."""
    grippers = [d.name for d in spec.dimensions if d.quantity == "gripper" and d.semantics == "absolute"]
    if config.dimension not in grippers:
        raise ConfigError(
            f"guard.outputs: {config.dimension!r} is not an absolute gripper dimension of this bundle "
            f"({', '.join(grippers) or 'it has none'}); name one of these, or remove the output"
        )
    return spec.index(config.dimension)
