"""How plans that overlap in time become one request."""

from __future__ import annotations

from typing import Protocol

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.guard.axes import Vector, absolute_mask
from jetvla.runtime.guard.blend import Blend
from jetvla.runtime.guard.chunk import ChunkTiming, Plan, Planner
from jetvla.runtime.guard.ensemble import Ensemble
from jetvla.runtime.guard.limits import Limits


class Execution(Protocol):
    """Takes plans in the order of their frames. Memory and time do not grow with the number of plans.

    Attributes:
        newest: the plan that came last, until :meth:`clear`; the others may only be asked for while there is one.
    """

    newest: Plan | None

    def add(self, plan: Plan, now_ns: int) -> None:
        """Follow ``plan`` too, or instead; a :attr:`newest` one must not be stale."""

    def clear(self) -> None:
        """Forget all plans."""

    def values(self, now_ns: int) -> Vector:
        """What is asked for at ``now_ns``, float64 [D]: finite if all plans are."""


class Latest:
    """The newest plan alone."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.newest: Plan | None = None

    def add(self, plan: Plan, now_ns: int) -> None:
        self.newest = plan

    def clear(self) -> None:
        self.newest = None

    def values(self, now_ns: int) -> Vector:
        assert self.newest is not None
        return self._planner.action(self.newest, now_ns)


def open_execution(spec: ActionSpec, timing: ChunkTiming, limits: Limits, planner: Planner) -> Execution:
    """The one that ``timing`` names."""
    if timing.execution == "temporal_ensemble":
        return Ensemble(planner, timing, absolute_mask(spec))
    if timing.execution == "blend":
        return Blend(planner, timing.fade_s(limits))
    return Latest(planner)
