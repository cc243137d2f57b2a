"""From a chunk to the action of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import NS_PER_S, seconds_to_ns
from jetvla.runtime.contracts import ActionChunk
from jetvla.runtime.guard.axes import Vector, absolute_mask
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rotation import rotation_vector

if TYPE_CHECKING:
    from jetvla.runtime.manifest import Execution, Manifest

DT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class ChunkTiming:
    """From the manifest: actions per chunk, seconds between them, seconds between chunks, and how chunks are merged."""

    horizon: int
    dt_s: float
    replan_s: float
    execution: Execution = "latest"
    ensemble_coefficient: float = 0.01

    @classmethod
    def of(cls, manifest: Manifest) -> ChunkTiming:
        """What ``manifest`` says of its chunks."""
        m = manifest
        return cls(m.horizon, m.dt_s, m.replan_s, m.execution, m.ensemble_coefficient)

    def fade_s(self, limits: Limits) -> float:
        """Seconds of a cross-fade between two chunks."""
        return min(self.replan_s, limits.blend_s)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A chunk made ready: rates for velocities and deltas, positions for absolute dimensions.

    Attributes:
        rows: float64 [H, D].
    """

    rows: Vector
    t0_ns: int
    dt_ns: int
    seq: int

    def row(self, now_ns: int) -> int:
        """Index of the row that is meant for ``now_ns``; the last one when the chunk has run out."""
        return max(0, min((now_ns - self.t0_ns) // self.dt_ns, len(self.rows) - 1))

    def held_s(self, now_ns: int) -> float:
        """Seconds since the last row began, which is held from then on; 0 before it."""
        return max(0, now_ns - self.t0_ns - (len(self.rows) - 1) * self.dt_ns) / NS_PER_S


class Planner:
    """Validates chunks against the spec and selects actions from them.

    Attributes:
        age_limit_ns: a plan is followed for this long after the frame that it answers.
        late_ns: a chunk older than this when it comes would not last until the next.
    """

    def __init__(self, spec: ActionSpec, timing: ChunkTiming, limits: Limits) -> None:
        self._spec = spec
        self._timing = timing
        self._absolute = absolute_mask(spec)
        self._delta = np.array([d.semantics == "delta" for d in spec.dimensions])
        self._rotations = _delta_rotations(spec)
        self.age_limit_ns = seconds_to_ns(_age_limit_s(self._absolute, timing, limits))
        self.late_ns = self.age_limit_ns - seconds_to_ns(timing.replan_s)

    def problem(self, chunk: ActionChunk) -> str:
        """Why ``chunk`` cannot be used; empty when it can."""
        actions = chunk.actions
        if actions.ndim != 2 or actions.shape[1] != len(self._spec) or not 1 <= len(actions) <= self._timing.horizon:
            return f"shape {list(actions.shape)}, not [1..{self._timing.horizon}, {len(self._spec)}]"
        if actions.dtype != np.float32:
            return f"dtype {actions.dtype}, not float32"
        if not np.isfinite(actions).all():
            return f"not finite: {', '.join(self._not_finite(chunk))}"
        if abs(chunk.dt_ns / NS_PER_S - self._timing.dt_s) > DT_TOLERANCE * self._timing.dt_s:
            return f"dt {chunk.dt_ns / NS_PER_S:g} s, not {self._timing.dt_s:g} s as in the manifest"
        return ""

    def telling_row(self, chunk: ActionChunk) -> tuple[float, ...]:
        """Of a chunk with a :meth:`problem`, the first action that is not finite, or else the first; empty where rows
        are not actions of this spec."""
        actions = chunk.actions
        if actions.shape[1:] != (len(self._spec),) or not len(actions):
            return ()
        return tuple(actions[int(np.argmin(np.isfinite(actions).all(axis=1)))].tolist())

    def _not_finite(self, chunk: ActionChunk) -> list[str]:
        finite = np.isfinite(chunk.actions)
        return [n for i, n in enumerate(self._spec.names) if not finite[:, i].all()]

    def plan(self, chunk: ActionChunk) -> Plan:
        """A chunk without a :meth:`problem`, deltas divided by their time step."""
        rows = chunk.actions.astype(np.float64)
        for index in self._rotations:
            rows[:, index] = rotation_vector(rows[:, index])
        rows[:, self._delta] /= chunk.dt_ns / NS_PER_S
        return Plan(rows, chunk.t0_ns, chunk.dt_ns, chunk.seq)

    def stale(self, plan: Plan, now_ns: int) -> bool:
        """Whether ``plan`` is too old to be followed."""
        return now_ns - plan.t0_ns > self.age_limit_ns

    def action(self, plan: Plan, now_ns: int) -> Vector:
        """float64 [D] of ``now_ns``: rates are held, positions interpolated, the last row held at the end."""
        row = plan.row(now_ns)
        action: Vector = plan.rows[row].copy()
        if row + 1 < len(plan.rows) and now_ns > plan.t0_ns:
            part = (now_ns - plan.t0_ns) / plan.dt_ns - row
            step = plan.rows[row + 1] - plan.rows[row]
            action[self._absolute] += part * step[self._absolute]
        return action


def _age_limit_s(absolute: NDArray[np.bool_], timing: ChunkTiming, limits: Limits) -> float:
    span = timing.horizon * timing.dt_s
    age = max(2 * timing.replan_s, span)
    if not absolute.all():
        age = min(age, limits.action_age_rate_s)
    if absolute.any():
        age = min(age, span + limits.action_age_absolute_s)
    return age


def _delta_rotations(spec: ActionSpec) -> list[list[int]]:
    if spec.rotation != "roll_pitch_yaw":
        return []
    by_frame: dict[str, list[int]] = {}
    for i, d in enumerate(spec.dimensions):
        if d.quantity == "angular" and d.semantics == "delta":
            by_frame.setdefault(d.frame, []).append(i)
    return [index for index in by_frame.values() if len(index) == 3]
