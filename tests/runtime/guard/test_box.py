"""The box: what is refused, and in which words."""

from __future__ import annotations

import math

import pytest

from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.box import Box
from jetvla.runtime.guard.limits import Limits

GOOD = {"frame": "base", "low": [-0.3, -0.3, 0.0], "high": [0.3, 0.3, 0.4]}


def test_a_box_from_the_configuration() -> None:
    box = Box.of(GOOD)
    assert box == Box("base", (-0.3, -0.3, 0.0), (0.3, 0.3, 0.4), 0.05, ("x", "y", "z"))
    assert Box.of(box) is box
    assert Box.of(None) is None
    assert Limits.from_overrides({"workspace": GOOD}).workspace == box
    assert Limits().workspace is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"low": [-0.3, -0.3]}, "workspace.low must be three finite numbers in metres, not (-0.3, -0.3)"),
        ({"low": -0.3}, "workspace.low must be three"),
        ({"high": [0.3, 0.3, math.nan]}, "workspace.high must be three"),
        ({"high": [0.3, math.inf, 0.3]}, "workspace.high must be three"),
        ({"high": [0.3, True, 0.3]}, "workspace.high must be three"),
        ({"high": ["a", 0.3, 0.3]}, "workspace.high must be three"),
        ({"high": [0.3, 0.3, 0.1]}, "nothing is left between low [-0.3, -0.3, 0.0] and high [0.3, 0.3, 0.1]"),
        ({"high": [0.3, -0.4, 0.3]}, "nothing is left"),
        ({"margin": 0.0}, "workspace.margin must be a finite number above 0, not 0.0"),
        ({"margin": math.nan}, "workspace.margin"),
        ({"margin": 0.2}, "with a margin of 0.2 m on either side"),
        ({"frame": ""}, "workspace.frame"),
        ({"axes": [None, None, None]}, "workspace.axes"),
        ({"hight": [1, 1, 1]}, "limits.workspace must be a mapping with frame, low, high"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError) as error:
        Box.of(GOOD | change)
    assert named in str(error.value)


@pytest.mark.parametrize("wrong", [5, [1, 2], {"frame": "base", "low": [0, 0, 0]}])
def test_what_is_no_box_is_named(wrong: object) -> None:
    with pytest.raises(ConfigError, match="must be a mapping with frame, low, high"):
        Box.of(wrong)
