"""What an action spec must declare, and what must be known, before a robot may be moved by it."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import Vector, is_absolute


def undeclared(spec: ActionSpec, start: Vector, no_feedback: str) -> tuple[str, ...]:
    """Reasons not to arm: one sentence for each thing that is missing.

    Args:
        start: float64 [D], position of each absolute dimension, NaN where it is not known.
        no_feedback: why there is no feedback; empty if there is.
    """
    rows = (
        (_frameless, "the action spec states no frame"),
        (_turned, "absolute orientations are not supported"),
    )
    missing = [([d.name for d in spec.dimensions if wrong(d)], why) for wrong, why in rows]
    unmeasured = [
        d.name for d, p in zip(spec.dimensions, start, strict=True) if d.quantity != "gripper" and not np.isfinite(p)
    ]
    missing.append((unmeasured, "the position is not measured" + (no_feedback and f", {no_feedback}")))
    return tuple(f"{', '.join(names)}: {why}" for names, why in missing if names)


def _frameless(dimension: ActionDimension) -> bool:
    return dimension.quantity in ("linear", "angular") and not dimension.frame


def _turned(dimension: ActionDimension) -> bool:
    return dimension.quantity == "angular" and is_absolute(dimension)
