from __future__ import annotations

import numpy as np
import pytest

from jetvla.engines.tolerance import Tolerance
from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.errors import ConfigError

ACTION = ActionSpec(
    dimensions=(
        ActionDimension(name="elbow", quantity="joint", unit="rad", semantics="absolute"),
        ActionDimension(name="slide", quantity="joint", unit="m", semantics="absolute"),
        ActionDimension(name="gripper", quantity="gripper", unit="1", semantics="absolute"),
    )
)
SCALE = np.array([2.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], [0.02, 0.005, 0.01]),
        (["2%"], [0.04, 0.01, 0.02]),
        (["0.02"], [0.04, 0.01, 0.02]),
        (["0.003rad"], [0.003, 0.005, 0.01]),
        (["1e-3 m", "0.1rad", "5 %"], [0.1, 0.001, 0.05]),
    ],
)
def test_a_share_of_the_range_or_a_number_in_the_unit(texts: list[str], expected: list[float]) -> None:
    np.testing.assert_allclose(Tolerance.parse(texts).of(ACTION, SCALE), expected)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["much"], "is no number above 0"),
        (["0"], "is no number above 0"),
        (["-1%"], "is no number above 0"),
        (["nan"], "is no number above 0"),
        (["1e999"], "is no number above 0"),
        (["1e-999%"], "is no number above 0"),
        (["3degrees"], "unknown unit 'degrees'"),
        (["1%", "0.02"], "repeats another one"),
        (["1rad", "2rad"], "repeats another one"),
    ],
)
def test_a_wrong_tolerance_is_named(texts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tolerance.parse(texts)


def test_a_unit_that_no_dimension_has_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"no action dimension has the unit rad/s; there are 1, m, rad"):
        Tolerance.parse(["1rad/s"]).of(ACTION, SCALE)
