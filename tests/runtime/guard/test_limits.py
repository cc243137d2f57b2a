"""Limits: the defaults of the safety specification, and what may be changed."""

from __future__ import annotations

import dataclasses
import math

import pytest

from jetvla.runtime.action_spec import ActionDimension
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.limits import Limits, RateLimit, rate_name


def test_defaults_are_those_of_the_safety_specification() -> None:
    limits = Limits()
    assert limits.linear == RateLimit(velocity=0.25, acceleration=0.5, deceleration=1.0, jerk=10.0)
    assert limits.angular == RateLimit(velocity=0.5, acceleration=1.0, deceleration=2.0, jerk=20.0)
    assert (limits.frame_age_s, limits.link_silence_s, limits.action_age_rate_s) == (0.2, 0.25, 0.5)
    assert (limits.following_m, limits.following_rad, limits.camera_skew_s) == (0.05, 0.3, 0.04)
    assert (limits.pose_age_s, limits.deadman_s, limits.workspace) == (0.1, 0.25, None)
    assert (limits.gripper_votes, limits.gripper_window) == (3, 5)
    assert (limits.rest_s, limits.bad_chunks, limits.late_chunks) == (2.0, 3, 3)
    assert (limits.excess_count, limits.excess_window, limits.period_ratio) == (10, 50, 3.0)


def test_every_limit_has_a_unit_and_a_source() -> None:
    rows = list(Limits().table())
    assert [name for name, *_ in rows] == [f.name for f in dataclasses.fields(Limits)]
    assert all(unit and source for _, _, unit, source in rows)


def test_default_stops_end_within_half_a_second() -> None:
    limits = Limits()
    stops = {name: value.stop_s for name, value, *_ in limits.table() if isinstance(value, RateLimit)}
    assert stops["linear"] == pytest.approx(0.25 / 1.0 + 1.5 / 10)
    assert all(stop_s < 0.45 for stop_s in stops.values())


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    limits = Limits.from_overrides({"linear": {"velocity": 0.1}, "frame_age_s": 0.3, "bad_chunks": 5})
    assert limits == dataclasses.replace(Limits(), linear=RateLimit(0.1, 0.5, 1.0, 10.0), frame_age_s=0.3, bad_chunks=5)
    assert Limits.from_overrides({}) == Limits()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"lineal": {}}, "limits.lineal"),
        ({"linear": {"speed": 1}}, "limits.linear.speed"),
        ({"linear": 0.1}, "limits.linear must be a mapping"),
        ({"linear": {"velocity": 0.0}}, "limits.linear.velocity"),
        ({"linear": {"jerk": math.nan}}, "limits.linear.jerk"),
        ({"linear": {"jerk": math.inf}}, "limits.linear.jerk"),
        ({"linear": {"deceleration": 0.1}}, "limits.linear: deceleration 0.1 is below acceleration 0.5"),
        ({"frame_age_s": -1}, "limits.frame_age_s"),
        ({"frame_age_s": "fast"}, "limits.frame_age_s"),
        ({"frame_age_s": True}, "limits.frame_age_s"),
        ({"bad_chunks": 2.5}, "limits.bad_chunks must be a whole number"),
        ({"excess_count": 51}, "excess_count"),
        ({"gripper_votes": 2}, "gripper_votes must be more than half of gripper_window"),
        ({"gripper_votes": 6}, "not more than all of it"),
        ({"joint": {"travel_1s": 0.0}}, "limits.joint.travel_1s"),
        ({"joint": {"travel_100ms": math.inf}}, "limits.joint.travel_100ms"),
        ({"workspace": 5}, "limits.workspace must be a mapping"),
    ],
)
def test_wrong_overrides_are_named(overrides: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as error:
        Limits.from_overrides(overrides)
    assert named in str(error.value)


def test_constructed_limits_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="velocity"):
        RateLimit(-1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ConfigError, match="rest_s"):
        Limits(rest_s=0.0)


def test_scaling_changes_all_four_numbers_of_a_quantity() -> None:
    limits = Limits().scaled(linear=0.5, gripper=2.0)
    assert limits.linear == RateLimit(0.125, 0.25, 0.5, 5.0)
    assert limits.gripper.velocity == 2.0
    assert limits.angular == Limits().angular
    with pytest.raises(ConfigError, match="frame_age_s"):
        Limits().scaled(frame_age_s=0.5)


def test_windows_allow_full_speed_unless_they_are_narrowed() -> None:
    (short, way), (long, further) = Limits().linear.travels()
    assert (short, long) == (0.1, 1.0)
    assert (way, further) == pytest.approx((0.0255, 0.255))
    own = Limits.from_overrides({"linear": {"travel_1s": 0.1}}).linear
    assert own.travels() == ((0.1, way), (1.0, 0.1))
    assert own.scaled(2.0).travels()[1] == (1.0, 0.2)
    assert own.scaled(2.0).travels()[0][1] == pytest.approx(0.051)


@pytest.mark.parametrize(("votes", "window"), [(1, 1), (3, 5), (5, 5), (2, 3)])
def test_a_majority_may_be_as_large_as_one_likes(votes: int, window: int) -> None:
    assert Limits(gripper_votes=votes, gripper_window=window).gripper_votes == votes


def test_the_digest_depends_on_every_number_and_on_nothing_else() -> None:
    box = {"frame": "base", "low": [0, 0, 0], "high": [1, 1, 1]}
    assert Limits().digest == Limits.from_overrides({"joint": {"velocity": 0.5}}).digest
    digests = {Limits().digest}
    for f in dataclasses.fields(Limits):
        value = getattr(Limits(), f.name)
        changed: dict[str, object] = {f.name: box}
        if isinstance(value, RateLimit):
            changed = {f.name: {"travel_1s": 0.001}}
        elif f.name in ("excess_count", "gripper_window"):
            changed = {f.name: value - 1}
        elif f.name != "workspace":
            changed = {f.name: value + 1}
        digests.add(Limits.from_overrides(changed).digest)
    assert len(digests) == 1 + len(dataclasses.fields(Limits))
    assert all(len(d) == 64 for d in digests)


@pytest.mark.parametrize(
    ("quantity", "unit", "semantics", "name"),
    [
        ("linear", "m/s", "velocity", "linear"),
        ("angular", "rad", "delta", "angular"),
        ("joint", "rad", "absolute", "joint"),
        ("joint", "m", "absolute", "prismatic"),
        ("joint", "m/s", "velocity", "prismatic"),
        ("gripper", "1", "absolute", "gripper"),
        ("gripper", "m", "absolute", "prismatic"),
    ],
)
def test_each_dimension_has_its_rates(quantity: str, unit: str, semantics: str, name: str) -> None:
    dimension = ActionDimension.model_validate(
        {"name": "d", "quantity": quantity, "unit": unit, "semantics": semantics}
    )
    assert rate_name(dimension) == name
    assert Limits().rate(name).velocity > 0
