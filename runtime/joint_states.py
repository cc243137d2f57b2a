"""sensor_msgs/JointState by name. This module reads messages and needs no rclpy; the subscription is a node's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.stamps import HeaderTime, StampError

_NEVER_NS = -(1 << 62)


class JointStates:
    """The newest position of each joint. Several publishers may each know some of them.

    One thread may :meth:`receive` while another reads; neither ever waits for the other.

    Args:
        joints: names as the messages have them, in the order of the result.

    Attributes:
        count: how many messages could be used.
        why: what was wrong with the last message, if it could not be used; empty after one that could.
    """

    def __init__(self, joints: Sequence[str], time: HeaderTime) -> None:
        self.joints = tuple(joints)
        self._index = {name: i for i, name in enumerate(self.joints)}
        self._time = time
        # Replaced as a whole, so that a reader sees all of a message or nothing.
        self._known = np.full(len(self.joints), np.nan), np.full(len(self.joints), _NEVER_NS, np.int64)
        self.count, self.why = 0, ""

    def receive(self, message: Any) -> None:
        """Take in one message. A position that is not finite, or older than the one that is known, is not taken."""
        try:
            t_ns = self._time.of(message.header)
        except StampError as error:
            self.why = str(error)
            return
        if len(message.position) < len(message.name):
            self.why = f"a message names {len(message.name)} joints and has {len(message.position)} positions"
            return
        positions, times = (array.copy() for array in self._known)
        for name, position in zip(message.name, message.position, strict=False):
            index = self._index.get(name)
            if index is not None and np.isfinite(position) and t_ns >= times[index]:
                positions[index], times[index] = position, t_ns
        self._known, self.why = (positions, times), ""
        self.count += 1

    def since(self, t_ns: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Positions [N] in rad or m, NaN for a joint that was not measured at ``t_ns`` or later; and when each was
        measured [N], long before ``t_ns`` if never.
        """
        positions, times = self._known
        return np.where(times >= t_ns, positions, np.nan), times

    def missing(self, now_ns: int, since_ns: int) -> str:
        """The joint that is known worst, if that was not measured at ``since_ns`` or later; else empty. For people."""
        _, times = self._known
        worst = int(np.argmin(times))
        if times[worst] >= since_ns:
            return ""
        never = times[worst] == _NEVER_NS
        age = "has not come yet" if never else f"is {(now_ns - int(times[worst])) / NS_PER_S:.3f} s old"
        return f"the position of joint {self.joints[worst]!r} {age}" + (f" ({self.why})" if self.why else "")
