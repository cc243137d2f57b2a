"""Feedback: where the robot is, how old that is, and how far from where it was told to be."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.guard.axes import Vector, is_absolute
from jetvla.runtime.guard.limits import Limits


class Feedback:
    """The newest measured positions; old ones count as none.

    Args:
        dimensions: D.
        required: feedback is configured, so the robot must not move without it.
    """

    def __init__(self, dimensions: int, limits: Limits, required: bool) -> None:
        self._none = np.full(dimensions, np.nan)
        self._values: Vector = self._none
        self._age_ns = seconds_to_ns(limits.feedback_age_s)
        self._future_ns = seconds_to_ns(limits.future_s)
        self._required = required
        self._t_ns: int | None = None

    def take(self, values: Vector, t_ns: int, now_ns: int) -> None:
        """Positions [D] measured at ``t_ns``, NaN or infinite where there is no measurement.

        Anything of another shape, from the future, or older than what is known is ignored.
        """
        newest = t_ns <= now_ns + self._future_ns and (self._t_ns is None or t_ns >= self._t_ns)
        if newest and values.shape == self._none.shape:
            self._values, self._t_ns = np.where(np.isfinite(values), values, np.nan), t_ns

    def at(self, now_ns: int) -> Vector:
        """Positions [D], NaN where none is known at ``now_ns``."""
        return self._none if self.stale(now_ns) else self._values

    def stale(self, now_ns: int) -> str:
        """How old the feedback is, if that is too old at ``now_ns``; empty if it is not, or if there never was any."""
        age_ns = 0 if self._t_ns is None else now_ns - self._t_ns
        return f"the last feedback is {age_ns / NS_PER_S:.3f} s old" if age_ns > self._age_ns else ""

    def problem(self, now_ns: int) -> str:
        """Why the robot must not move for want of feedback; empty if it may."""
        if not self._required:
            return ""
        return "no feedback has come yet" if self._t_ns is None else self.stale(now_ns)


class Following:
    """Distance between command and measurement of every absolute dimension.

    Linear dimensions of one frame share a distance. Grippers are left out: one that holds something is not where
    it was told to be.
    """

    def __init__(self, spec: ActionSpec, limits: Limits) -> None:
        groups: dict[str, list[int]] = {}
        for i, d in enumerate(spec.dimensions):
            if is_absolute(d) and d.quantity != "gripper":
                groups.setdefault(f"frame {d.frame}" if d.quantity == "linear" else d.name, []).append(i)
        self._names = [", ".join(spec.dimensions[i].name for i in group) for group in groups.values()]
        self._units = [spec.dimensions[group[0]].unit for group in groups.values()]
        self._limits = np.array([limits.following_m if u == "m" else limits.following_rad for u in self._units])
        self._group = np.full(len(spec), -1)
        for g, group in enumerate(groups.values()):
            self._group[group] = g
        self._index = np.flatnonzero(self._group >= 0)
        self._group = self._group[self._index]

    def problem(self, command: Vector, measured: Vector) -> str:
        """Which of the dimensions is too far away; empty if none. Both [D]; NaN is no measurement."""
        if not len(self._index):
            return ""
        off = command[self._index] - measured[self._index]
        square = np.where(np.isnan(off), 0.0, off * off)
        distance = np.sqrt(np.bincount(self._group, square, minlength=len(self._limits)))
        over = distance > self._limits
        if not over.any():
            return ""
        g = int(np.argmax(distance / self._limits))
        return f"{self._names[g]}: {distance[g]:.3g} {self._units[g]} from the measured position; the limit is " + (
            f"{self._limits[g]:g} {self._units[g]}"
        )
