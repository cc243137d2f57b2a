"""From what the policy asks for to what the shaper may aim at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.debounce import Debounce
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.motion import Motion
from jetvla.runtime.guard.source import Request
from jetvla.runtime.guard.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What the shaper may aim at.

    Attributes:
        bounded: float64 [D], legal; empty where nothing is asked for.
        clipped: names of the dimensions that were changed.
        excessive: the request counts against the policy.
        halted: to rest first, short of a face of the workspace.
    """

    bounded: Vector
    clipped: tuple[str, ...] = ()
    excessive: bool = False
    halted: bool = False

    @property
    def values(self) -> Vector | None:
        """float64 [D]; None is rest."""
        return self.bounded if self.bounded.size and not self.halted else None


REST = Target(np.empty(0))


class Targets:
    """Grippers debounced, everything bounded, the tool kept in its box.

    Attributes:
        workspace: None where no box is configured.

    Raises:
        ConfigError: the box does not fit the action spec or the limits.
    """

    def __init__(self, spec: ActionSpec, limits: Limits, motion: Motion, period_s: float) -> None:
        self._debounce = Debounce(spec, limits)
        self._motion = motion
        box = limits.workspace
        self.workspace = None if box is None else Workspace(box, spec, limits, period_s)

    def settle(self) -> None:
        """The robot is at rest where :class:`Motion` says."""
        self._debounce.reset(self._motion.start)

    def of(self, request: Request, values: Vector, now_ns: int) -> Target:
        """The target for a request for ``values`` [D], all finite."""
        wanted = self._debounce.apply(values, request.serial)
        target, clipped, excessive = self._motion.bounds.clip(wanted)
        # Without a pose the robot may not be armed, and in shadow nothing is at stake.
        if self.workspace is None or self.workspace.problem(now_ns):
            return Target(target, clipped, excessive)
        kept, moved, outside = self.workspace.clip(target, now_ns)
        names = (*clipped, *(name for name in moved if name not in clipped))
        halted = self.workspace.must_stop(self._motion.values, self._motion.stopping_way, now_ns)
        return Target(kept, names, excessive or outside, halted)
