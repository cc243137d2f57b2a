"""An independent judge of what the guard published. It shares no code with the guard: numpy differences alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
# Velocity, acceleration and deceleration of docs/SAFETY.md, in SI units, written down once more.
LINEAR = (0.25, 0.5, 1.0)
ANGULAR = (0.5, 1.0, 2.0)
GRIPPER = (1.0, 4.0)
ROUNDING = 1e-6
# More than three periods between two commands: a stall, or another arming.
GAP_S = 0.03


@dataclass(frozen=True)
class Commands:
    """Published commands: ``t_ns`` int64 [N] monotonic, ``values`` float64 [N, 7] in the order of :data:`NAMES`."""

    t_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path, offset: int = 0) -> Commands:
        """The whole lines of a log sink's file, from byte ``offset`` on."""
        with path.open("rb") as file:
            file.seek(offset)
            lines = [json.loads(line) for line in file if line.endswith(b"\n")]
        values = [[line["values"][name] for name in NAMES] for line in lines]
        return cls(np.array([line["t_ns"] for line in lines], np.int64), np.array(values).reshape(-1, len(NAMES)))

    @property
    def speeds(self) -> NDArray[np.float64]:
        """[N] in m/s."""
        return np.asarray(np.linalg.norm(self.values[:, :3], axis=1))

    def speed_at(self, t_ns: int) -> float:
        """Speed in m/s of the command in force at ``t_ns``."""
        index = int(np.searchsorted(self.t_ns, t_ns)) - 1
        assert index >= 0, "nothing had been published yet"
        return float(self.speeds[index])

    def rest_ns(self) -> int:
        """When the first of the last commands came that all ask for rest: no velocity, and the gripper held."""
        moving = self.values[:, :6].any(axis=1)
        moving[1:] |= np.diff(self.values[:, 6]) != 0
        (still,) = np.nonzero(moving)
        assert len(still), "the robot never moved"
        assert still[-1] + 1 < len(moving), f"the last command still moves: {self.values[-1]}"
        return int(self.t_ns[still[-1] + 1])


def assert_legal(commands: Commands) -> None:
    """Velocity, acceleration and deceleration of every command and of every two in a row."""
    assert np.isfinite(commands.values).all()
    seconds = np.diff(commands.t_ns) / 1e9
    assert (seconds > 0).all(), "commands go back in time"
    for columns, limits in ((slice(0, 3), LINEAR), (slice(3, 6), ANGULAR)):
        _assert_rates(commands.values[:, columns], seconds, *limits)
    _assert_gripper(commands.values[:, 6], seconds)


def _assert_rates(
    rates: NDArray[np.float64], seconds: NDArray[np.float64], velocity: float, acceleration: float, deceleration: float
) -> None:
    speeds = np.linalg.norm(rates, axis=1)
    assert speeds.max() <= velocity + ROUNDING
    changes = np.linalg.norm(np.diff(rates, axis=0), axis=1)
    assert (changes <= deceleration * seconds + ROUNDING).all(), f"changes by {(changes / seconds).max():.3f} a second"
    gains = np.diff(speeds)
    assert (gains <= acceleration * seconds + ROUNDING).all(), f"speeds up by {(gains / seconds).max():.3f} a second"


def _assert_gripper(positions: NDArray[np.float64], seconds: NDArray[np.float64]) -> None:
    velocity, acceleration = GRIPPER
    rates = np.diff(positions) / seconds
    assert (np.abs(rates) <= velocity + ROUNDING).all()
    between = (seconds[1:] + seconds[:-1]) / 2
    # In a stall the guard lets less time pass than the clock, and a mean over it is none of the gripper's rates.
    steady = np.maximum(seconds[1:], seconds[:-1]) < GAP_S
    changes = np.abs(np.diff(rates))[steady]
    assert (changes <= acceleration * between[steady] + ROUNDING).all()
