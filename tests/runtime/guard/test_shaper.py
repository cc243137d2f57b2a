"""The shaper: known answers, and what its docstring promises."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import Vector, blocks_of
from jetvla.runtime.guard.limits import Limits, RateLimit
from jetvla.runtime.guard.rig import twist_spec
from jetvla.runtime.guard.shaper import Shaper

P = 0.01


def shaper_of(spec: ActionSpec, limits: Limits | None = None) -> Shaper:
    return Shaper(blocks_of(spec, limits or Limits()), len(spec), P)


@pytest.fixture
def twist() -> Shaper:
    return shaper_of(twist_spec())


@pytest.fixture
def joint() -> Shaper:
    dimension = ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute")
    return shaper_of(ActionSpec(dimensions=(dimension,)))


def follow(shaper: Shaper, target: Vector | None, ticks: int) -> Vector:
    return np.array([shaper.advance(P, target) for _ in range(ticks)])


def forward(speed: float) -> Vector:
    return np.array([speed, 0, 0, 0, 0, 0])


def integral_of_ramp(t: Vector) -> Vector:
    """Way after ``t`` s of a ramp to 0.25 m/s at 0.5 m/s²."""
    return np.where(t < 0.5, 0.25 * np.maximum(t, 0) ** 2, 0.0625 + 0.25 * (t - 0.5))


def test_a_start_is_a_ramp_averaged_over_the_window(twist: Shaper) -> None:
    """0.25 m/s at 0.5 m/s² is a ramp of 0.5 s; jerk 10 m/s³ spreads 1.5 m/s² over 0.15 s."""
    t = P * np.arange(1, 101)
    # The target acts from the next grid point on, one period later.
    expected = (integral_of_ramp(t - P) - integral_of_ramp(t - P - 0.15)) / 0.15
    np.testing.assert_allclose(follow(twist, forward(0.25), 100)[:, 0], expected, atol=1e-12)


def test_a_stop_is_as_long_as_the_limits_say_and_ends_at_exactly_zero(twist: Shaper) -> None:
    follow(twist, forward(0.25), 100)
    stop = follow(twist, None, 60)[:, 0]
    ticks = round((0.25 / 1.0 + 0.15) / P) + 1
    assert np.flatnonzero(stop == 0.0)[0] + 1 == ticks
    assert not stop[ticks:].any()
    assert (np.diff(stop) <= 1e-15).all()
    assert twist.at_rest


def test_it_is_not_at_rest_while_something_is_left_in_the_window(twist: Shaper) -> None:
    assert twist.at_rest
    twist.advance(P, forward(0.25))
    assert not twist.at_rest
    while twist.advance(P, None).any():
        assert not twist.at_rest


def test_direction_is_kept_on_the_way_and_while_stopping(twist: Shaper) -> None:
    target = np.array([0.15, -0.2, 0, 0, 0, 0.1])
    commands = np.concatenate([follow(twist, target, 30), follow(twist, None, 30)])
    moving = commands[np.linalg.norm(commands[:, :3], axis=1) > 1e-6, :3]
    directions = moving / np.linalg.norm(moving, axis=1, keepdims=True)
    np.testing.assert_allclose(directions, np.tile([0.6, -0.8, 0.0], (len(moving), 1)), atol=1e-9)


@pytest.mark.parametrize("steps", [[P], [0.004], [0.013], [0.002, 0.025, 0.01], [0.0, 0.01], [1e-9, 0.011]])
def test_the_command_depends_on_time_alone_and_not_on_how_it_is_cut(steps: list[float]) -> None:
    """Sampling more or less often gives points of the same curve."""
    fine, cut = shaper_of(twist_spec()), shaper_of(twist_spec())
    now, samples, times = 0.0, [], []
    for i in range(120):
        now += steps[i % len(steps)]
        samples.append(cut.advance(steps[i % len(steps)], forward(0.2))[0])
        times.append(now)
    grid = [fine.advance(P / 16, forward(0.2))[0] for _ in range(int(max(times) / P * 16) + 16)]
    expected = np.interp(times, P / 16 * np.arange(1, len(grid) + 1), grid, left=0.0)
    np.testing.assert_allclose(samples, expected, atol=2e-6)


@pytest.mark.parametrize("ticks", [26, 28, 30, 33, 36])
def test_after_a_hard_stop_it_waits_until_the_stop_has_left_the_window(twist: Shaper, ticks: int) -> None:
    follow(twist, forward(0.25), 100)
    follow(twist, None, ticks)
    again = follow(twist, forward(-0.25), 60)[:, 0]
    acceleration = np.diff(again) / P
    backwards = again[1:] < 0
    assert backwards.any()
    assert (np.abs(acceleration[backwards]) <= 0.5 + 1e-9).all()


def test_a_blip_of_rest_does_not_stop_the_robot(twist: Shaper) -> None:
    follow(twist, forward(0.25), 100)
    twist.advance(P, None)
    assert follow(twist, forward(0.25), 60)[:, 0].min() > 0.23


def test_a_short_pause_is_not_followed_by_a_wait(twist: Shaper) -> None:
    """Rest that lasts longer than the window has nothing to wait for."""
    follow(twist, forward(0.25), 100)
    follow(twist, None, 60)
    restart = follow(twist, forward(0.25), 40)[:, 0]
    fresh = follow(shaper_of(twist_spec()), forward(0.25), 40)[:, 0]
    np.testing.assert_allclose(restart, fresh, atol=1e-12)


def test_a_position_is_reached_without_passing_it(joint: Shaper) -> None:
    way = follow(joint, np.array([0.4]), 300)[:, 0]
    assert way.max() <= 0.4 + 1e-12
    assert way[-1] == pytest.approx(0.4, abs=1e-9)
    assert (np.diff(way) >= -1e-12).all()
    # 0.4 rad at 0.5 rad/s and 1 rad/s²: 0.8 s + 0.5 s, and the window of 0.15 s.
    assert way[145] == pytest.approx(0.4, abs=2e-3)


def test_a_position_is_held_by_a_stop_where_braking_ends(joint: Shaper) -> None:
    way = follow(joint, np.array([2.0]), 150)[:, 0]
    stop = follow(joint, None, 100)[:, 0]
    speed = (way[-1] - way[-2]) / P
    # Braking at 2 rad/s² from 0.5 rad/s, half a window and one tick of delay.
    assert stop[-1] - way[-1] == pytest.approx(speed**2 / 4 + speed * (0.075 + P), abs=1e-3)
    assert joint.at_rest
    assert np.ptp(stop[60:]) == 0.0


def test_a_position_turns_round_within_its_limits(joint: Shaper) -> None:
    follow(joint, np.array([1.0]), 100)
    way = follow(joint, np.array([-1.0]), 700)[:, 0]
    velocity = np.diff(way) / P
    assert np.abs(velocity).max() <= 0.5 + 1e-9
    assert np.abs(np.diff(velocity)).max() / P <= 1.0 + 1e-6
    assert way[-1] == pytest.approx(-1.0, abs=1e-6)


def test_reset_is_rest_at_a_position(joint: Shaper) -> None:
    follow(joint, np.array([1.0]), 50)
    joint.reset(np.array([0.3]))
    assert joint.at_rest
    assert follow(joint, None, 3).tolist() == [[0.3]] * 3
    assert follow(joint, np.array([0.3]), 3).tolist() == [[0.3]] * 3


def test_groups_with_the_same_limits_do_not_disturb_each_other() -> None:
    dimensions = [
        ActionDimension(name=n, quantity="joint", unit="rad/s", semantics="velocity") for n in ("a", "b", "c")
    ]
    together = shaper_of(ActionSpec(dimensions=tuple(dimensions)))
    alone = shaper_of(ActionSpec(dimensions=(dimensions[0],)))
    both = follow(together, np.array([0.4, -0.5, 0.0]), 80)
    np.testing.assert_allclose(both[:, :1], follow(alone, np.array([0.4]), 80), atol=1e-14)
    assert both[-1].tolist() == pytest.approx([0.4, -0.5, 0.0])


def test_without_room_for_smoothing_the_window_is_one_period() -> None:
    quick = Limits(linear=RateLimit(0.25, 0.5, 1.0, 1000.0))
    shaper = shaper_of(twist_spec(), quick)
    command = follow(shaper, forward(0.25), 60)[:, 0]
    assert np.diff(command).max() <= 0.5 * P + 1e-12
    # 50 steps of 0.005 m/s, one period of delay.
    assert np.flatnonzero(command > 0.25 - 1e-12)[0] == 51


def test_a_position_keeps_stopping_after_a_blip_of_rest(joint: Shaper) -> None:
    """Held speed could carry it past the end of its range before it may brake again."""
    follow(joint, np.array([0.6]), 100)
    joint.advance(P, None)
    way = follow(joint, np.array([0.6]), 300)[:, 0]
    assert way.max() <= 0.6 + 1e-12
    assert way[-1] == pytest.approx(0.6, abs=1e-6)


@pytest.mark.parametrize("steps", [[0.004], [0.013], [0.002, 0.025, 0.01], [0.0, 0.01]])
def test_a_position_depends_on_time_alone_too(joint: Shaper, steps: list[float]) -> None:
    dimension = ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute")
    fine = shaper_of(ActionSpec(dimensions=(dimension,)))
    now, samples, times = 0.0, [], []
    for i in range(150):
        now += steps[i % len(steps)]
        samples.append(joint.advance(steps[i % len(steps)], np.array([0.3]))[0])
        times.append(now)
    grid = [fine.advance(P / 16, np.array([0.3]))[0] for _ in range(int(now / P * 16) + 16)]
    expected = np.interp(times, P / 16 * np.arange(1, len(grid) + 1), grid, left=0.0)
    np.testing.assert_allclose(samples, expected, atol=2e-6)


@pytest.mark.parametrize("acceleration", [1.0, 2.0])
@pytest.mark.parametrize("distance", [0.02, 0.05, 0.4, 1.0])
def test_a_position_is_reached_as_fast_as_the_limits_allow(acceleration: float, distance: float) -> None:
    """Time-optimal: up and down in a triangle or a trapezoid, then the window; and seven ticks for the last µrad."""
    rate = RateLimit(0.5, acceleration, 2 * acceleration, 20.0)
    dimension = ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute")
    shaper = shaper_of(ActionSpec(dimensions=(dimension,)), Limits(joint=rate))
    way = follow(shaper, np.array([distance]), 400)[:, 0]
    triangle = distance < rate.velocity**2 / acceleration
    optimal = 2 * np.sqrt(distance / acceleration) if triangle else distance / 0.5 + 0.5 / acceleration
    arrived = P * (1 + np.flatnonzero(np.abs(way - distance) < 1e-6)[0])
    assert optimal + rate.smoothing_s <= arrived <= optimal + rate.smoothing_s + 7 * P
    assert way.max() <= distance + 1e-12


@pytest.mark.parametrize("ticks", [7, 20, 45, 100])
def test_the_way_of_a_stop_is_known_before(twist: Shaper, ticks: int) -> None:
    follow(twist, forward(0.25), ticks)
    told = twist.stopping_way()[0]
    # What is published from now on, each command in force for a period.
    went = follow(twist, None, 100)[:, 0].sum() * P
    assert told == pytest.approx(went, rel=0.03, abs=1e-4)


def test_after_a_hard_stop_the_next_start_waits_for_the_whole_window(twist: Shaper) -> None:
    follow(twist, forward(0.25), 100)
    follow(twist, None, 1)
    again = follow(twist, forward(0.25), 60)[:, 0]
    # One hard step of 0.01 m/s spreads over the window of 0.15 s, and only then does speed grow again.
    assert int(np.argmin(again)) in (14, 15)
    assert again[15] == pytest.approx(0.24, abs=1e-9)
    assert again[-1] == pytest.approx(0.25)


def test_the_way_of_a_turn_s_stop_is_known_before_too(twist: Shaper) -> None:
    follow(twist, np.array([0, 0, 0, 0, 0, 0.5]), 100)
    told = twist.stopping_way()[5]
    assert told == pytest.approx(follow(twist, None, 100)[:, 5].sum() * P, rel=0.03)
