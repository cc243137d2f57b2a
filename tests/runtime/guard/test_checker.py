"""The checker alone: it must refuse each kind of violation, by itself."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import Vector, blocks_of, bounds_of
from jetvla.runtime.guard.checker import Checker
from jetvla.runtime.guard.limits import Limits, RateLimit
from jetvla.runtime.guard.rig import twist_spec

P = 0.01
SMOOTH = Limits(linear=RateLimit(0.25, 0.5, 1.0, 1e6), angular=RateLimit(0.5, 1.0, 2.0, 1e6))
JOINT = ActionSpec(
    dimensions=(ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute", range=(-1.0, 1.0)),)
)


def checker_of(spec: ActionSpec, limits: Limits | None = None) -> Checker:
    limits = limits or Limits()
    return Checker(spec, blocks_of(spec, limits), *bounds_of(spec, 0.1), P)


def twist(x: float = 0.0, y: float = 0.0, yaw: float = 0.0) -> Vector:
    return np.array([x, y, 0.0, 0.0, 0.0, yaw])


@pytest.fixture
def checker() -> Checker:
    return checker_of(twist_spec(), SMOOTH)


def ramp(checker: Checker, to: float, rate: float = 0.5) -> None:
    """Bring x to ``to`` legally."""
    start = float(checker.last[0])
    n = round(abs(to - start) / (rate * P))
    for x in np.linspace(start, to, n + 1)[1:]:
        assert checker.check(twist(float(x)), P) == ""


def test_a_ramp_at_the_limits_is_legal_up_and_down(checker: Checker) -> None:
    ramp(checker, 0.25, 0.5)
    ramp(checker, 0.0, 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(checker: Checker, bad: float) -> None:
    assert checker.check(twist(bad), P) == "not finite, or of the wrong shape"


def test_wrong_shape(checker: Checker) -> None:
    assert "shape" in checker.check(np.zeros(5), P)
    assert "shape" in checker.check(np.zeros((1, 6)), P)


def test_velocity_of_one_axis_and_of_the_norm(checker: Checker) -> None:
    ramp(checker, 0.25)
    assert checker.check(twist(0.2501), P).startswith("velocity of x, y, z is 0.2501, above 0.25")
    assert checker.check(twist(0.25, 0.0049), P).startswith("velocity of x, y, z")


def test_speed_is_gained_at_most_with_the_acceleration_limit(checker: Checker) -> None:
    assert checker.check(twist(0.0051), P).startswith("acceleration of x, y, z is 0.51, above 0.5")
    assert checker.check(twist(0.0, -0.0051), P).startswith("acceleration")
    assert checker.check(twist(yaw=0.0101), P).startswith("acceleration of roll, pitch, yaw is 1.01")


def test_any_change_is_at_most_the_deceleration_limit(checker: Checker) -> None:
    ramp(checker, 0.2)
    assert checker.check(twist(0.1899), P).startswith("deceleration of x, y, z is 1.01, above 1")
    # A turn at constant speed.
    assert checker.check(twist(0.2 * np.cos(0.06), 0.2 * np.sin(0.06)), P).startswith("deceleration")
    assert checker.check(twist(0.2 * np.cos(0.04), 0.2 * np.sin(0.04)), P) == ""


def test_jerk() -> None:
    checker = checker_of(twist_spec())
    assert checker.check(twist(0.00101), P).startswith("jerk of x, y, z is 10.1, above 10")
    assert checker.check(twist(0.00099), P) == ""
    assert checker.check(twist(0.00099 + 0.002), P).startswith("jerk")
    assert checker.check(twist(0.00099 + 0.00195), P) == ""


def test_a_refused_command_is_forgotten(checker: Checker) -> None:
    assert checker.check(twist(0.1), P)
    assert checker.last.tolist() == [0.0] * 6
    assert checker.check(twist(0.1), P)
    assert checker.check(twist(0.005), P) == ""
    assert checker.last[0] == 0.005


def test_a_longer_step_allows_a_larger_change(checker: Checker) -> None:
    assert checker.check(twist(0.0149), 0.03) == ""
    assert checker.check(twist(0.0149 + 0.005), 0.005).startswith("acceleration")


@pytest.mark.parametrize("dt_s", [0.0, -0.01])
def test_nothing_may_change_without_time(checker: Checker, dt_s: float) -> None:
    ramp(checker, 0.1)
    assert checker.check(twist(0.1), dt_s) == ""
    assert checker.check(twist(0.1 - 1e-9), dt_s) == "changed without time passing"


def test_steps_without_time_leave_the_history_alone() -> None:
    checker = checker_of(twist_spec())
    assert checker.check(twist(0.00099), P) == ""
    assert checker.check(twist(0.00099), 0.0) == ""
    assert checker.check(twist(0.00099 + 0.00195), P) == ""


def test_reset_is_rest() -> None:
    checker = checker_of(twist_spec(), SMOOTH)
    ramp(checker, 0.2)
    checker.reset(np.zeros(6))
    assert checker.last.tolist() == [0.0] * 6
    assert checker.check(twist(0.19), P).startswith("acceleration")


def test_positions_are_differentiated() -> None:
    checker = checker_of(JOINT, Limits(joint=RateLimit(0.5, 1.0, 2.0, 1e6)))
    checker.reset(np.array([0.5]))
    assert checker.check(np.array([0.5]), P) == ""
    assert checker.check(np.array([0.500101]), P).startswith("acceleration of j is 1.01, above 1")
    p, v = 0.5, 0.0
    while v < 0.4999:
        v += 1.0 * P
        p += v * P
        assert checker.check(np.array([p]), P) == ""
    assert checker.check(np.array([p + (v + 0.001) * P]), P).startswith("velocity of j is 0.501")
    assert checker.check(np.array([p + (v - 0.0201) * P]), P).startswith("deceleration of j is 2.01")
    assert checker.check(np.array([p + (v - 0.0199) * P]), P) == ""


def test_jerk_of_positions() -> None:
    checker = checker_of(JOINT)
    assert checker.check(np.array([0.000021]), P).startswith("jerk of j is 21, above 20")
    assert checker.check(np.array([0.000019]), P) == ""


def test_range_allows_only_the_way_back() -> None:
    checker = checker_of(JOINT)
    checker.reset(np.array([1.2]))
    assert checker.check(np.array([1.2]), P) == ""
    assert checker.check(np.array([1.20001]), P) == "j = 1.20001 is outside -1 to 1"
    assert checker.check(np.array([1.19999]), P) == ""
    checker.reset(np.array([-1.2]))
    assert checker.check(np.array([-1.20001]), P) == "j = -1.20001 is outside -1 to 1"
    assert checker.check(np.array([-1.19999]), P) == ""
    checker.reset(np.array([1.0]))
    assert checker.check(np.array([1.00001]), P).startswith("j = 1.00001")


def test_range_of_rates() -> None:
    spec = ActionSpec(
        dimensions=(
            ActionDimension(name="r", quantity="joint", unit="rad/s", semantics="velocity", range=(-0.004, 0.5)),
        )
    )
    checker = checker_of(spec, Limits(joint=RateLimit(0.5, 1.0, 2.0, 1e6)))
    assert checker.check(np.array([-0.004]), P) == ""
    assert checker.check(np.array([-0.005]), P) == "r = -0.005 is outside -0.004 to 0.5"


def test_a_cartesian_position_is_limited_by_its_target_alone() -> None:
    dimensions = tuple(
        ActionDimension(name=n, quantity="linear", unit="m", semantics="absolute", frame="base", range=(-1.0, 1.0))
        for n in "xy"
    )
    checker = checker_of(ActionSpec(dimensions=dimensions))
    checker.reset(np.array([1.0, 0.0]))
    assert checker.check(np.array([1.000009, 0.0]), P) == ""
    assert checker.check(np.array([1.1, 0.0]), P).startswith("velocity of x, y")


def test_the_worst_of_several_groups_is_named() -> None:
    dimensions = tuple(
        ActionDimension(name=n, quantity="joint", unit="rad/s", semantics="velocity") for n in ("a", "b", "c")
    )
    checker = checker_of(ActionSpec(dimensions=dimensions))
    assert checker.check(np.array([0.6, 0.7, 0.0]), P).startswith("velocity of b is 0.7, above 0.5")


@pytest.mark.parametrize("tiny", [1e-7, 1e-9])
def test_rounding_of_tiny_steps_is_no_violation(tiny: float) -> None:
    checker = checker_of(JOINT)
    checker.reset(np.array([0.3]))
    for k in range(200):
        jitter = np.spacing(0.3) * (k % 2)
        assert checker.check(np.array([0.3 + jitter]), tiny if k % 9 else P) == ""


def test_jerk_of_positions_over_uneven_steps() -> None:
    """Third divided differences of a cubic are its jerk, however it is sampled."""
    for jerk, legal in ((19.9, True), (20.3, False)):
        checker = checker_of(JOINT)
        now, found = 0.0, []
        for dt_s in (0.02, 0.02, 0.005, 0.005):
            now += dt_s
            found.append(checker.check(np.array([jerk * now**3 / 6]), dt_s))
        # The first two differences still reach back into the rest before.
        assert found[:2] == ["", ""]
        assert (found[2:] == ["", ""]) == legal
