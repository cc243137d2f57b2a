"""The policy's own state: the joints that the manifest names, as they are now."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.clock import NS_PER_S, Clock
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.joint_states import JointStates
from jetvla.runtime.manifest import Manifest
from jetvla.runtime.robot_config import StateConfig
from jetvla.runtime.stamps import HeaderTime

# Positions older than this when a step starts are of a robot that has moved on; the same as for a frame.
MAX_STATE_AGE_NS = NS_PER_S // 5


class Numb(Exception):
    """The state is not known now; the message says why. Expected, so no error of the user or of ours."""


class Proprioception(Protocol):
    """Knows the state."""

    def feel(self) -> NDArray[np.float32]:
        """float32 [S] in the manifest's order; Numb if it is not known."""


def open_sense(config: StateConfig | None, manifest: Manifest, clock: Clock) -> JointSense | None:
    """What feels the state that the policy takes; None if it takes none.

    Raises:
        ConfigError: it takes one, and no topic is configured, or another state is.
    """
    if not manifest.state:
        return None
    if config is None:
        raise ConfigError(
            f"the policy {manifest.name} needs the joint states {', '.join(manifest.state)}; name their topic, as "
            "state: {topic: /joint_states}"
        )
    return JointSense(config, manifest.state, clock)


class JointSense:
    """The state from sensor_msgs/JointState, joints by name.

    Args:
        names: the manifest's ``state``.

    Raises:
        ConfigError: if ``config`` maps a name that the manifest does not have, or two to one joint.
    """

    def __init__(self, config: StateConfig, names: tuple[str, ...], clock: Clock) -> None:
        if unknown := [name for name in config.joints if name not in names]:
            raise ConfigError(
                f"state.joints: the bundle has no state {', '.join(unknown)}; its states are {', '.join(names)}"
            )
        joints = [config.joints.get(name, name) for name in names]
        if twice := sorted({joint for joint in joints if joints.count(joint) > 1}):
            raise ConfigError(f"state.joints: {', '.join(twice)} would be two states at once; give each its own joint")
        self._topic, self._clock = config.topic, clock
        self._states = JointStates(joints, HeaderTime(config.stamp, clock))

    def receive(self, message: Any) -> None:
        """Take in one message; from another thread than :meth:`feel`."""
        self._states.receive(message)

    def feel(self) -> NDArray[np.float32]:
        """The newest positions, none older than :data:`MAX_STATE_AGE_NS`; Numb names the one that is missing."""
        now_ns = self._clock.now_ns()
        positions, _ = self._states.since(now_ns - MAX_STATE_AGE_NS)
        if not np.isfinite(positions).all():
            raise Numb(f"{self._topic}: {self._states.missing(now_ns, now_ns - MAX_STATE_AGE_NS)}")
        return positions.astype(np.float32)
