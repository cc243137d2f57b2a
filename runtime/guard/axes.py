"""Which dimensions of an action are limited together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.limits import Limits, RateLimit, rate_name

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """G groups of n dimensions each, under the same limits.

    A Cartesian quantity is one group, limited by its norm: [1, n]. Joints and grippers are alone: [G, 1].

    Attributes:
        index: intp [G, n], positions in the action.
        rate: limits of the norm of each group.
        absolute: the values are positions, so the limits hold for their derivative.
    """

    index: NDArray[np.intp]
    rate: RateLimit
    absolute: bool


def blocks_of(spec: ActionSpec, limits: Limits) -> tuple[Block, ...]:
    """The dimensions of ``spec``, grouped. Cartesian ones of the same quantity and frame share one norm."""
    rows: dict[tuple[str, bool], dict[str, list[int]]] = {}
    for i, dimension in enumerate(spec.dimensions):
        key = (rate_name(dimension), is_absolute(dimension))
        cartesian = dimension.quantity in ("linear", "angular")
        group = f"frame {dimension.frame}" if cartesian else f"dimension {i}"
        rows.setdefault(key, {}).setdefault(group, []).append(i)
    return tuple(
        Block(np.array(same_size, dtype=np.intp), limits.rate(name), absolute)
        for (name, absolute), groups in rows.items()
        for same_size in _by_size(list(groups.values()))
    )


def _by_size(groups: list[list[int]]) -> list[list[list[int]]]:
    sizes = sorted({len(g) for g in groups})
    return [[g for g in groups if len(g) == size] for size in sizes]


def is_absolute(dimension: ActionDimension) -> bool:
    return dimension.semantics == "absolute"


def absolute_mask(spec: ActionSpec) -> NDArray[np.bool_]:
    """bool [D]: which dimensions are positions."""
    return np.array([is_absolute(d) for d in spec.dimensions])


def bounds_of(spec: ActionSpec, dt_s: float) -> tuple[Vector, Vector]:
    """float64 [D] each: smallest and largest command.

    A delta's range becomes one of rates. A rate's range is widened to hold 0, else the robot could not
    stand still. A normalised position without a range has 0 to 1; everything else without one is unbounded.
    """
    low, high = np.full(len(spec), -np.inf), np.full(len(spec), np.inf)
    for i, d in enumerate(spec.dimensions):
        if d.range is not None:
            per = dt_s if d.semantics == "delta" else 1.0
            low[i], high[i] = d.range[0] / per, d.range[1] / per
        elif is_absolute(d) and d.unit == "1":
            low[i], high[i] = 0.0, 1.0
        if not is_absolute(d):
            low[i], high[i] = min(low[i], 0.0), max(high[i], 0.0)
    return low, high


def norms(x: Vector) -> Vector:
    """[G, n] -> [G, 1]: Euclidean norm of each group."""
    if x.shape[1] == 1:
        return np.abs(x)
    return np.asarray(np.sqrt(np.einsum("gn,gn->g", x, x)))[:, None]
