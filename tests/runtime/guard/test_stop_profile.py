"""The stop against ruckig's time-optimal one, under the same limits.

Ours may not be quicker, or it would break a limit. It may be slower by what the shaper's simplicity costs: its
smoothing takes (acceleration + deceleration) / jerk whatever the speed, and it begins on the grid of control periods.
"""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import blocks_of
from jetvla.runtime.guard.limits import Limits, RateLimit
from jetvla.runtime.guard.rig import twist_spec
from jetvla.runtime.guard.shaper import Shaper

ruckig = pytest.importorskip("ruckig", reason="ruckig is a test dependency of the host (extra 'dev')")

P = 0.001
TICKS = 2
FULL_SPEED_FACTOR = 1.25

LIMITS = {
    "default": RateLimit(0.25, 0.5, 1.0, 10.0),
    "soft": RateLimit(0.25, 0.3, 0.3, 2.0),
    "hard": RateLimit(1.0, 2.0, 5.0, 100.0),
    "angular": RateLimit(0.5, 1.0, 2.0, 20.0),
}


def optimal_s(rate: RateLimit, velocity: float, acceleration: float = 0.0) -> float:
    """Seconds to rest of the quickest profile that keeps deceleration and jerk."""
    state = ruckig.InputParameter(1)
    state.control_interface = ruckig.ControlInterface.Velocity
    state.current_velocity, state.current_acceleration = [velocity], [acceleration]
    state.target_velocity = [0.0]
    state.max_acceleration, state.max_jerk = [rate.deceleration], [rate.jerk]
    trajectory = ruckig.Trajectory(1)
    assert ruckig.Ruckig(1).calculate(state, trajectory) == ruckig.Result.Working
    return float(trajectory.duration)


def one_axis(rate: RateLimit) -> Shaper:
    x = ActionDimension(name="x", quantity="linear", unit="m/s", semantics="velocity", frame="base")
    spec = ActionSpec(dimensions=(x,))
    return Shaper(blocks_of(spec, Limits(linear=rate)), 1, P)


def stop_s(shaper: Shaper) -> float:
    """Seconds from now until the command is exactly zero."""
    for k in range(1, 5000):
        if not shaper.advance(P, None).any():
            return k * P
    raise AssertionError("it never stops")


def within(rate: RateLimit, ours: float, optimum: float) -> None:
    assert ours >= optimum - 1e-9
    assert ours <= optimum + rate.smoothing_s + TICKS * P


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("part", [0.02, 0.1, 0.3, 0.7, 1.0])
def test_from_a_steady_speed(name: str, part: float) -> None:
    rate, shaper = LIMITS[name], one_axis(LIMITS[name])
    velocity = part * rate.velocity
    for _ in range(4000):
        command = shaper.advance(P, np.array([velocity]))
    assert command[0] == pytest.approx(velocity)
    ours, optimum = stop_s(shaper), optimal_s(rate, velocity)
    within(rate, ours, optimum)
    if part == 1.0:
        assert ours <= FULL_SPEED_FACTOR * optimum + TICKS * P


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_in_the_midst_of_speeding_up(name: str, part: float) -> None:
    rate, shaper = LIMITS[name], one_axis(LIMITS[name])
    before = last = 0.0
    while last < part * rate.velocity:
        before, last = last, float(shaper.advance(P, np.array([rate.velocity]))[0])
    # The mean acceleration of the last period; jerk may have changed it since by jerk * P / 2.
    acceleration = (last - before) / P - rate.jerk * P / 2
    ours, optimum = stop_s(shaper), optimal_s(rate, last, acceleration)
    assert ours >= optimum - 1e-9
    assert ours <= optimum + rate.smoothing_s + (rate.acceleration / rate.deceleration) * rate.smoothing_s + TICKS * P


def test_a_twist_stops_like_its_norm() -> None:
    limits = Limits()
    shaper = Shaper(blocks_of(twist_spec(), limits), 6, P)
    target = np.array([0.12, -0.16, 0.1, 0.0, 0.0, 0.0])
    for _ in range(4000):
        shaper.advance(P, target)
    within(limits.linear, stop_s(shaper), optimal_s(limits.linear, float(np.linalg.norm(target))))


def test_a_position_stops_like_a_rate() -> None:
    rate = Limits().joint
    j = ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute")
    shaper = Shaper(blocks_of(ActionSpec(dimensions=(j,)), Limits()), 1, P)
    for _ in range(4000):
        last = shaper.advance(P, np.array([1e3]))
    assert shaper.advance(P, np.array([1e3])) - last == pytest.approx(rate.velocity * P)
    positions = [float(shaper.advance(P, None)[0]) for _ in range(1000)]
    moving = np.flatnonzero(np.diff(positions))
    within(rate, (int(moving[-1]) + 2) * P, optimal_s(rate, rate.velocity))
