"""The workspace: a box that the tool does not leave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from jetvla.runtime.errors import ConfigError

Corner = tuple[float, float, float]
MARGIN_M = 0.05


@dataclass(frozen=True, slots=True)
class Box:
    """Axis-aligned, in one frame. All lengths in metres.

    Attributes:
        frame: ROS frame of the box, of the pose, and of the action's linear dimensions. It must not move with
            the tool: a twist in the tool's own frame says nothing about where the tool is in a room.
        low: smallest x, y, z.
        high: largest x, y, z.
        margin: inside the box along its faces, where only inward motion is allowed. It has to hold what the robot
            runs on after a command (its own latency and tracking error): 0.05 m is 0.2 s at 0.25 m/s.
        axes: names of the action dimensions along x, y, z; None for an axis that the policy does not move.
    """

    frame: str
    low: Corner
    high: Corner
    margin: float = MARGIN_M
    axes: tuple[str | None, str | None, str | None] = ("x", "y", "z")

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            corner = getattr(self, name)
            if not isinstance(corner, tuple) or len(corner) != 3 or not all(map(_finite, corner)):
                raise ConfigError(f"workspace.{name} must be three finite numbers in metres, not {corner!r}")
        if not _finite(self.margin) or self.margin <= 0:
            raise ConfigError(f"workspace.margin must be a finite number above 0, not {self.margin!r}")
        if any(low + 2 * self.margin >= high for low, high in zip(self.low, self.high, strict=True)):
            raise ConfigError(
                f"workspace: nothing is left between low {list(self.low)} and high {list(self.high)} "
                f"with a margin of {self.margin:g} m on either side"
            )
        if not self.frame:
            raise ConfigError("workspace.frame must name the ROS frame of the box")
        if not any(self.axes):
            raise ConfigError("workspace.axes must name the action dimension of at least one axis")

    @classmethod
    def of(cls, box: object) -> Box | None:
        """From the mapping of ``jetvla.yaml``; a box or None stays as it is.

        Raises:
            ConfigError: a key is missing, unknown, or has a wrong value; says which.
        """
        if box is None or isinstance(box, Box):
            return box
        known = [f.name for f in fields(cls)]
        if not isinstance(box, Mapping) or not {"frame", "low", "high"} <= set(box) <= set(known):
            raise ConfigError(f"limits.workspace must be a mapping with frame, low, high (of {known}), not {box!r}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in box.items()}
        return cls(**values)


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
