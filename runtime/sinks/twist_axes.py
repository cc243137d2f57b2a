"""Which action dimensions a twist carries: velocities and deltas, whose safe value is 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.robot_config import TwistOutput, TwistStampedOutput


class TwistAxes:
    """Where x, y, z of a twist's two vectors stand in the action; an axis configured as null stays 0.

    Attributes:
        dimensions: names of the action dimensions that the twist carries.
        frames: every frame in which one of them is expressed.

    Raises:
        ConfigError: if a name is not in the action, or is no velocity of that kind.
    """

    def __init__(self, config: TwistOutput | TwistStampedOutput, spec: ActionSpec) -> None:
        self._linear = [_index(name, "linear", spec) for name in config.linear]
        self._angular = [_index(name, "angular", spec) for name in config.angular]
        used = [spec.dimensions[i] for i in (*self._linear, *self._angular) if i is not None]
        self.dimensions = tuple(d.name for d in used)
        self.frames = frozenset(d.frame for d in used)

    def fill(self, twist: Any, values: NDArray[np.float64]) -> None:
        """Write ``values`` [D] into a geometry_msgs/Twist."""
        for vector, indices in ((twist.linear, self._linear), (twist.angular, self._angular)):
            vector.x, vector.y, vector.z = (0.0 if i is None else float(values[i]) for i in indices)


def _index(name: str | None, quantity: str, spec: ActionSpec) -> int | None:
    if name is None:
        return None
    if name not in spec.names:
        raise ConfigError(
            f"guard.outputs: the twist's {quantity} names {name!r}, but this bundle's action has "
            f"{', '.join(spec.names)}; name one of these, or null for an axis that does not move"
        )
    dimension = spec.dimensions[spec.index(name)]
    if not _is_rate(dimension, quantity):
        raise ConfigError(
            f"guard.outputs: {name!r} is an {dimension.semantics} {dimension.quantity} quantity, "
            f"and a twist needs a {quantity} velocity; use an output of another kind"
        )
    return spec.index(name)


def _is_rate(dimension: ActionDimension, quantity: str) -> bool:
    return dimension.quantity == quantity and dimension.semantics != "absolute"
