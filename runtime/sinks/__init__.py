"""Where commands go. One table of kinds; only the chosen module is imported."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.contracts import Command

if TYPE_CHECKING:
    from jetvla.runtime.robot_config import OutputConfig
    from jetvla.runtime.ros.session import RosSession


class CommandSink(Protocol):
    """Sends commands to one receiver."""

    dimensions: tuple[str, ...]
    """Names of the action dimensions that this sink sends."""

    def publish(self, command: Command) -> None:
        """Send one command."""

    def stay_alive(self) -> None:
        """Say that the sender lives, on a tick on which nothing is sent."""

    def peer_problems(self) -> tuple[str, ...]:
        """Why arming must be refused; empty when the receiver is there and nobody else commands it."""

    def close(self) -> None:
        """Release the receiver."""


_MODULES = {
    "twist": "jetvla.runtime.sinks.twist",
    "twist_stamped": "jetvla.runtime.sinks.twist_stamped",
    "joint_trajectory": "jetvla.runtime.sinks.joint_trajectory",
    "gripper": "jetvla.runtime.sinks.gripper",
    "log": "jetvla.runtime.sinks.log",
}


def open_sink(config: OutputConfig, spec: ActionSpec, session: RosSession | None, period_s: float) -> CommandSink:
    """Open the sink of ``config.kind``.

    Args:
        spec: what the commands mean.
        session: the process's ROS 2 node; None only where no output needs it.
        period_s: time between two commands.

    Raises:
        ConfigError: if the action has not the dimensions that the sink sends.
    """
    module = importlib.import_module(_MODULES[config.kind])
    return cast(CommandSink, module.open_sink(config, spec, session, period_s))
