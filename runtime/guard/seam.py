"""Whether a new plan continues the one in use."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import Block, Vector, blocks_of, norms
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.limits import Limits


class Seam:
    """Compares what is asked for with what a new plan asks for at the same moment.

    Positions may differ by a fixed distance. Rates may differ by ``seam_ratio`` times what the limit of
    acceleration allows in the time that the change is about: since the last row of the plan in use began, if that is
    held by now, and at least one time step or one cross-fade. Cartesian quantities are compared by their norm, joints
    each. Grippers are free: they open and close at once, and are bounded by their rates alone.
    """

    def __init__(self, spec: ActionSpec, timing: ChunkTiming, limits: Limits) -> None:
        self._dimensions = spec.dimensions
        self._shortest_s = max(timing.dt_s, timing.fade_s(limits))
        self._blocks = tuple((b, _bounds(spec, b, limits)) for b in blocks_of(spec, limits))

    def problem(self, asked: Vector, wanted: Vector, held_s: float) -> str:
        """Why ``wanted`` [D] does not continue ``asked`` [D]; empty when it does.

        Args:
            asked: the request so far, for now.
            wanted: what the new plan asks for now.
            held_s: how long the plan in use has held its last row.
        """
        seconds = max(self._shortest_s, held_s)
        for block, bounds in self._blocks:
            allowed = bounds if block.absolute else bounds * seconds
            jump = norms((wanted - asked)[block.index])[:, 0]
            if (beyond := jump > allowed).any():
                worst = int(np.argmax(beyond))
                return self._sentence(block.index[worst].tolist(), float(jump[worst]), float(allowed[worst]))
        return ""

    def _sentence(self, index: list[int], jump: float, allowed: float) -> str:
        names = ", ".join(self._dimensions[i].name for i in index)
        unit = _unit(self._dimensions[index[0]])
        return f"{names} would jump by {jump:.3g} {unit}; at most {allowed:.3g}"


def _bounds(spec: ActionSpec, block: Block, limits: Limits) -> Vector:
    """float64 [G]: distance for positions, acceleration for rates, infinite for grippers."""
    first = [spec.dimensions[row[0]] for row in block.index]
    return np.array([_bound(d, block, limits) for d in first])


def _bound(dimension: ActionDimension, block: Block, limits: Limits) -> float:
    if dimension.quantity == "gripper":
        return np.inf
    if not block.absolute:
        return limits.seam_ratio * block.rate.acceleration
    return limits.seam_m if dimension.unit == "m" else limits.seam_rad


def _unit(dimension: ActionDimension) -> str:
    """Of a request: a delta is one as a rate."""
    return f"{dimension.unit}/s" if dimension.semantics == "delta" else dimension.unit
