"""Shaper against checker: they share no arithmetic, so they must agree on every motion."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.motion import Motion

PERIOD_S = 0.01
TICKS = 600

CARTESIAN = {"quantity": "linear", "frame": "base"}
SPEC = ActionSpec.model_validate(
    {
        "dimensions": [
            *({"name": n, "unit": "m/s", "semantics": "velocity", **CARTESIAN} for n in "xyz"),
            {"name": "yaw", "quantity": "angular", "unit": "rad/s", "semantics": "velocity", "frame": "base"},
            {"name": "gripper", "quantity": "gripper", "unit": "1", "semantics": "absolute"},
            *(
                {"name": n, "quantity": "joint", "unit": "rad", "semantics": "absolute", "range": [-1.0, 1.0]}
                for n in ("j1", "j2", "j3")
            ),
            *({"name": n, "unit": "m", "semantics": "absolute", **CARTESIAN} for n in ("px", "py", "pz")),
        ],
        "rotation": "rotation_vector",
    }
)
SIZE = np.array([0.25] * 3 + [0.5] + [1.0] + [1.0] * 3 + [0.3] * 3)


def time_step(kind: int, rng: np.random.Generator) -> float:
    """Regular, jittering, or anything from 1 µs to a stall."""
    if kind == 0:
        return PERIOD_S
    if kind == 1:
        return PERIOD_S * float(rng.uniform(0.5, 1.5))
    return min(3 * PERIOD_S, 10 ** float(rng.uniform(-6, -1.4)))


@pytest.mark.parametrize("seed", range(12))
def test_the_checker_has_no_objection(seed: int) -> None:
    rng = np.random.default_rng(seed)
    motion = Motion(SPEC, Limits(), 0.1, PERIOD_S)
    motion.measured(np.concatenate([np.zeros(4), [0.5], rng.uniform(-1, 1, 6)]))
    motion.settle()
    size = SIZE * 10 ** rng.uniform(-2, 1)
    change, rest = rng.choice([0.01, 0.05, 0.2, 1.0]), rng.choice([0.02, 0.1, 0.3])
    target: NDArray[np.float64] | None = None
    for _ in range(TICKS):
        if rng.random() < change:
            target = None
            if rng.random() >= rest:
                target, _, _ = motion.bounds.clip(rng.normal(size=len(SPEC)) * size)
        assert motion.advance(target, time_step(seed % 3, rng)) == ""
    assert np.isfinite(motion.values).all()
