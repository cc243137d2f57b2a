"""The judge itself: what it lets pass, and what it does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from .judge import NAMES, Commands, assert_legal

PERIOD_S = 0.01


def stop(deceleration: float = 1.0, acceleration: float = 0.5, top: float = 0.25) -> NDArray[np.float64]:
    """Speeds of a start and a stop, each at its rate."""
    up = np.arange(0, top, acceleration * PERIOD_S)
    down = np.arange(top, 0, -deceleration * PERIOD_S)
    return np.concatenate([up, down, np.zeros(10)])


def commands(speeds: NDArray[np.float64], gripper: NDArray[np.float64] | None = None) -> Commands:
    values = np.zeros((len(speeds), len(NAMES)))
    values[:, 1] = speeds
    values[:, 6] = 0.5 if gripper is None else gripper
    return Commands(np.arange(len(speeds), dtype=np.int64) * 10_000_000, values)


def test_a_stop_within_the_limits_is_legal_and_ends_at_its_first_zero() -> None:
    legal = commands(stop())
    assert_legal(legal)
    assert legal.speed_at(505_000_000) == pytest.approx(0.25)
    assert legal.rest_ns() == 75 * 10_000_000


@pytest.mark.parametrize(
    "speeds", [stop(deceleration=1.1), stop(acceleration=0.6), stop(top=0.26), np.array([0.25, 0, 0]), stop() * np.nan]
)
def test_what_is_beyond_a_limit_is_not_legal(speeds: NDArray[np.float64]) -> None:
    with pytest.raises(AssertionError):
        assert_legal(commands(speeds))


@pytest.mark.parametrize("step", [0.011, 0.005])
def test_a_gripper_that_is_too_fast_or_too_sudden_is_not_legal(step: float) -> None:
    speeds = stop()
    gripper = 0.5 + step * (np.arange(len(speeds)) == 40).cumsum()
    with pytest.raises(AssertionError):
        assert_legal(commands(speeds, gripper))


def test_a_robot_that_still_moves_at_the_end_is_not_at_rest() -> None:
    with pytest.raises(AssertionError, match="still moves"):
        commands(stop()[:60]).rest_ns()
    with pytest.raises(AssertionError, match="never moved"):
        commands(np.zeros(5)).rest_ns()


def test_a_gripper_that_closes_is_a_robot_that_moves() -> None:
    speeds = stop()
    gripper = np.minimum(np.arange(len(speeds)) * 0.001, 0.08)
    assert commands(speeds, gripper).rest_ns() == 81 * 10_000_000


def test_half_a_line_is_one_that_is_being_written(tmp_path: Path) -> None:
    line = json.dumps({"t_ns": 1, "seq": 0, "values": dict.fromkeys(NAMES, 0.0)})
    (tmp_path / "commands.jsonl").write_text(f"{line}\n{line}\n{line[:20]}")
    assert len(Commands.read(tmp_path / "commands.jsonl").t_ns) == 2
    assert len(Commands.read(tmp_path / "commands.jsonl", len(line) + 1).t_ns) == 1
