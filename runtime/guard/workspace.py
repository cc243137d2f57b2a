"""Keeps the tool within a box: by the measured pose for velocities and deltas, by the target for positions."""

from __future__ import annotations

import math

import numpy as np

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.axes import Vector, absolute_mask
from jetvla.runtime.guard.box import Box
from jetvla.runtime.guard.limits import Limits

# A stop is not worth its jerk for less than this.
RUN_ON_M = 1e-4


class Workspace:
    """The box, and the newest pose of the tool.

    Two layers. Requests: outward velocity falls with the distance to the margin, to zero there; inward motion is
    free. As a policy can spoil that braking by turning sideways at the same time, there is also a stop as soon as
    the robot could otherwise pass the face of the box.

    Raises:
        ConfigError: the box does not fit the action spec or the limits.
    """

    def __init__(self, box: Box, spec: ActionSpec, limits: Limits, period_s: float) -> None:
        self._rate, self._period_s = limits.linear, period_s
        self._names = spec.names
        axes = _axes(box, spec)
        self._index = np.array(list(axes.values()), dtype=np.intp)
        self._absolute = absolute_mask(spec)[self._index]
        self._row = np.array(list(axes), dtype=np.intp)
        self._low, self._high = np.array(box.low)[self._row], np.array(box.high)[self._row]
        self._margin = box.margin
        self._noise = limits.excess_margin * limits.linear.velocity
        self._reserve = _reserve(limits, period_s)
        if self._reserve > box.margin:
            raise ConfigError(
                f"limits.workspace.margin of {box.margin:g} m is less than what the robot moves before the guard can "
                f"stop it; for these limits it must be at least {self._reserve:.3f} m"
            )
        self._age_ns = seconds_to_ns(limits.pose_age_s)
        self._future_ns = seconds_to_ns(limits.future_s)
        self._pose: Vector = np.full(3, np.nan)
        self._t_ns: int | None = None

    def take(self, position: Vector, t_ns: int, now_ns: int) -> None:
        """Position [3] in metres, measured at ``t_ns``. What is not finite, from the future or older is ignored."""
        newest = t_ns <= now_ns + self._future_ns and (self._t_ns is None or t_ns >= self._t_ns)
        if newest and position.shape == (3,) and np.isfinite(position).all():
            self._pose, self._t_ns = position.astype(np.float64), t_ns

    def problem(self, now_ns: int) -> str:
        """Why the robot must not move at ``now_ns``; empty if it may."""
        if self._t_ns is None:
            return "no pose of the tool has come yet"
        age_ns = now_ns - self._t_ns
        if age_ns > self._age_ns:
            return f"the pose of the tool is {age_ns / NS_PER_S:.3f} s old"
        return ""

    def clip(self, target: Vector, now_ns: int) -> tuple[Vector, tuple[str, ...], bool]:
        """Target [D] that leads to no place outside, names of the dimensions changed, and whether that counts.

        What counts against the policy is to ask for a place outside the box, or outward motion within the margin.
        ``target`` must be finite and within bounds, and there must be no :meth:`problem`.
        """
        asked = target[self._index]
        up, down = self._room(now_ns)
        speed_up, speed_down = self._braking(up), self._braking(down)
        slowed = np.clip(asked, -speed_down, speed_up)
        inside = np.clip(asked, self._low + self._margin, self._high - self._margin)
        allowed = np.where(self._absolute, inside, slowed)
        outward = ((up <= 0) & (asked > self._noise)) | ((down <= 0) & (asked < -self._noise))
        outside = (asked < self._low) | (asked > self._high)
        excessive = bool(np.where(self._absolute, outside, outward).any())
        changed = allowed != asked
        if not changed.any():
            return target, (), False
        kept: Vector = target.copy()
        kept[self._index] = allowed
        return kept, tuple(self._names[i] for i in self._index[changed]), excessive

    def must_stop(self, command: Vector, way: Vector, now_ns: int) -> bool:
        """Whether a robot under ``command`` [D], with ``way`` [D] to go in a stop, could else leave the box."""
        ahead = way[self._index]
        at = np.where(self._absolute, command[self._index], self._pose[self._row])
        drift = np.where(self._absolute, 0.0, self._drift(now_ns)) + self._reserve
        beyond = (ahead > RUN_ON_M) & (at + ahead + drift > self._high)
        beyond |= (ahead < -RUN_ON_M) & (at + ahead - drift < self._low)
        return bool(beyond.any())

    def _room(self, now_ns: int) -> tuple[Vector, Vector]:
        """Metres to the upper and to the lower margin, if the robot has moved there ever since the pose."""
        pose, drift = self._pose[self._row], self._drift(now_ns)
        return self._high - self._margin - pose - drift, pose - drift - self._low - self._margin

    def _drift(self, now_ns: int) -> float:
        return self._rate.velocity * max(0, now_ns - (self._t_ns or 0)) / NS_PER_S

    def _braking(self, room: Vector) -> Vector:
        """Speed from which half the acceleration limit can stop within ``room``, after the shaper's own delay."""
        a, lead = 0.5 * self._rate.acceleration, self._rate.smoothing_s + 2.0 * self._period_s
        return np.asarray(a * (np.sqrt(lead * lead + 2.0 * np.maximum(room, 0.0) / a) - lead))


def _axes(box: Box, spec: ActionSpec) -> dict[int, int]:
    """Axis of the box -> dimension of the action. An axis that no dimension moves needs no name of its own."""
    linear = {d.name: d.frame for d in spec.dimensions if d.quantity == "linear"}
    axes = {k: name for k, name in enumerate(box.axes) if name is not None and name in linear}
    if not linear or sorted(axes.values()) != sorted(linear) or set(linear.values()) != {box.frame}:
        dimensions = ", ".join(f"{name} in {frame!r}" for name, frame in linear.items())
        raise ConfigError(
            f"limits.workspace: axes {list(box.axes)} in frame {box.frame!r} must be all linear action dimensions; "
            f"those of this bundle are: {dimensions or 'none, so it cannot be kept in a box'}"
        )
    return {k: spec.index(name) for k, name in axes.items()}


def _reserve(limits: Limits, period_s: float) -> float:
    """Metres by which the place of a stop can move until the next tick, however late that is.

    The way at full speed, by how much the stop becomes longer while the robot gains speed, and the same in the
    window over which the shaper smooths.
    """
    rate, until_s = limits.linear, (math.ceil(limits.period_ratio) + 1) * period_s
    gain = rate.acceleration * until_s
    return until_s * rate.velocity + gain * (rate.velocity / rate.deceleration + rate.smoothing_s)
