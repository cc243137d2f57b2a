"""Velocity, norm and range of requests."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.axes import blocks_of
from jetvla.runtime.guard.bounds import Bounds
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import twist_spec

JOINT = ActionDimension(name="j", quantity="joint", unit="rad", semantics="absolute", range=(-1.0, 1.0))
RAIL = ActionDimension(name="r", quantity="joint", unit="m/s", semantics="velocity", range=(-0.01, 0.02))
SPEC = ActionSpec(dimensions=(*twist_spec().dimensions, JOINT, RAIL), rotation="rotation_vector")


@pytest.fixture
def bounds() -> Bounds:
    return Bounds(SPEC, blocks_of(SPEC, Limits()), dt_s=0.1, margin=0.05)


def test_what_is_legal_stays(bounds: Bounds) -> None:
    request = np.array([0.15, -0.2, 0.0, 0.3, 0.4, 0.0, 0.9, 0.02])
    target, names, excessive = bounds.clip(request)
    np.testing.assert_allclose(target, request, rtol=1e-12)
    assert (names, excessive) == ((), False)


def test_the_norm_is_limited_and_direction_kept(bounds: Bounds) -> None:
    request = np.array([3.0, 4.0, 0.0, 0.0, 0.0, -6.0, 0.0, 0.0])
    target, names, excessive = bounds.clip(request)
    np.testing.assert_allclose(target, [0.15, 0.2, 0.0, 0.0, 0.0, -0.5, 0.0, 0.0])
    assert names == ("x", "y", "z", "roll", "pitch", "yaw")
    assert excessive
    assert request[0] == 3.0


def test_each_axis_may_be_legal_while_the_norm_is_not(bounds: Bounds) -> None:
    target, names, _ = bounds.clip(np.array([0.2, 0.2, 0.2, 0, 0, 0, 0, 0]))
    assert np.linalg.norm(target[:3]) == pytest.approx(0.25)
    assert names == ("x", "y", "z")


@pytest.mark.parametrize(("asked", "given"), [(-7.0, -1.0), (7.0, 1.0), (1.0, 1.0)])
def test_range(bounds: Bounds, asked: float, given: float) -> None:
    target, names, excessive = bounds.clip(np.array([0, 0, 0, 0, 0, 0, asked, 0.0]))
    assert target[6] == given
    assert names == (() if asked == given else ("j",))
    assert excessive == (asked != given)


def test_range_of_a_rate_is_kept_below_its_velocity(bounds: Bounds) -> None:
    target, names, _ = bounds.clip(np.array([0, 0, 0, 0, 0, 0, 0, -0.5]))
    assert target[7] == -0.01
    assert names == ("r",)


def test_a_little_too_much_is_clipped_but_not_counted(bounds: Bounds) -> None:
    target, names, excessive = bounds.clip(np.array([0.26, 0, 0, 0, 0, 0, 1.05, 0.0]))
    np.testing.assert_allclose(target[[0, 6]], [0.25, 1.0])
    assert names == ("x", "y", "z", "j")
    assert not excessive


def test_rounding_of_float32_is_not_a_clip(bounds: Bounds) -> None:
    request = np.array([0.15, 0.2, 0, 0, 0, 0, 0, 0], np.float32).astype(np.float64) * (1 + 1e-7)
    _, names, _ = bounds.clip(request)
    assert names == ()


@pytest.mark.parametrize("huge", [1e30, 3.4e38, 1e-45])
def test_extremes_keep_their_direction(bounds: Bounds, huge: float) -> None:
    target, _, _ = bounds.clip(np.array([huge, -huge, 0, 0, 0, 0, 0, 0]))
    assert np.isfinite(target).all()
    assert target[0] == -target[1] > 0
    assert np.linalg.norm(target[:3]) <= 0.25 * (1 + 1e-12)


def test_exactly_the_margin_does_not_count() -> None:
    bounds = Bounds(SPEC, blocks_of(SPEC, Limits()), dt_s=0.1, margin=0.25)
    for i, largest in ((0, 0.3125), (6, 1.5), (6, -1.5)):
        request = np.zeros(8)
        request[i] = largest
        assert not bounds.clip(request)[2]
        request[i] = np.nextafter(largest, np.inf * largest)
        assert bounds.clip(request)[2]


def test_the_range_of_a_delta_is_one_of_rates() -> None:
    delta = ActionDimension(name="d", quantity="joint", unit="rad", semantics="delta", range=(-0.01, 0.02))
    spec = ActionSpec(dimensions=(delta,))
    bounds = Bounds(spec, blocks_of(spec, Limits()), dt_s=0.1, margin=0.05)
    assert bounds.clip(np.array([1.0]))[0].tolist() == [pytest.approx(0.2)]
    assert bounds.clip(np.array([-1.0]))[0].tolist() == [pytest.approx(-0.1)]


def test_what_the_range_changed_is_told_beside_what_the_norm_changed() -> None:
    free = ActionDimension(name="f", quantity="joint", unit="m/s", semantics="velocity")
    spec = ActionSpec(dimensions=(RAIL, free))
    bounds = Bounds(spec, blocks_of(spec, Limits()), dt_s=0.1, margin=0.05)
    target, names, excessive = bounds.clip(np.array([0.03, 1.0]))
    assert (target.tolist(), names, excessive) == ([0.02, pytest.approx(0.1)], ("r", "f"), True)
