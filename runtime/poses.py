"""geometry_msgs/PoseStamped of one frame. This module reads messages and needs no rclpy: the node subscribes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.stamps import HeaderTime, StampError


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """``position`` [3] in metres, measured at ``t_ns``."""

    position: NDArray[np.float64]
    t_ns: int


class Poses:
    """The newest pose. :meth:`receive` may be called from another thread than the rest.

    Args:
        frame: only poses in this frame are taken.

    Attributes:
        newest: None before the first.
        why: what was wrong with the last message, if it could not be used; empty after one that could.
    """

    def __init__(self, frame: str, time: HeaderTime) -> None:
        self._frame, self._time = frame, time
        self.newest: Pose | None = None
        self.why = ""

    def receive(self, message: Any) -> None:
        """Take in one message; an older one than the newest is not taken."""
        try:
            pose = self._pose(message)
        except (StampError, ValueError) as error:
            self.why = str(error)
            return
        if self.newest is None or pose.t_ns >= self.newest.t_ns:
            self.newest = pose
        self.why = ""

    def _pose(self, message: Any) -> Pose:
        header, place = message.header, message.pose.position
        if header.frame_id != self._frame:
            raise ValueError(f"a pose is in frame {header.frame_id!r}, not {self._frame!r}")
        position = np.array([place.x, place.y, place.z])
        if not np.isfinite(position).all():
            raise ValueError("a pose is not finite")
        return Pose(position, self._time.of(header))
