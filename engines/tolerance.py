"""How large an action error may be: a share of each dimension's range, or a number in the dimension's unit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.action_spec import ActionSpec, Unit
from jetvla.runtime.errors import ConfigError

DEFAULT_SHARE = 0.01
# A dimension without a unit has a share alone: a bare number cannot be told from one.
_UNITS = tuple(unit for unit in get_args(Unit) if unit[0].isalpha())
_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)"


@dataclass(frozen=True)
class Tolerance:
    """Largest mean action error.

    Attributes:
        share: of a dimension's range (:attr:`Observations.scale`), where no number is given for its unit.
        absolute: by unit, in that unit.
    """

    share: float = DEFAULT_SHARE
    absolute: dict[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Tolerance:
        """From ``1%`` or ``0.01`` (shares) and ``0.002m/s``, ``0.01 rad`` (one a unit).

        Raises:
            ConfigError: naming the text that is none of these, is zero, or repeats another.
        """
        share: float | None = None
        absolute: dict[str, float] = {}
        for text in texts:
            number, unit = _split(text)
            if unit in _UNITS and unit not in absolute:
                absolute[unit] = number
            elif unit in ("", "%") and share is None:
                share = number / 100 if unit == "%" else number
            else:
                what = "repeats another one" if unit in (*_UNITS, "", "%") else f"has an unknown unit {unit!r}"
                raise ConfigError(f"--tolerance {text}: {what}; give a share (1%) and at most one number for each unit")
        return cls(DEFAULT_SHARE if share is None else share, absolute)

    def of(self, action: ActionSpec, scale: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 [D], in each dimension's unit; ConfigError if a unit of :attr:`absolute` has no dimension."""
        units = [dimension.unit for dimension in action.dimensions]
        unused = sorted(set(self.absolute) - set(units))
        if unused:
            there = ", ".join(sorted(set(units)))
            raise ConfigError(f"--tolerance: no action dimension has the unit {', '.join(unused)}; there are {there}")
        given = [self.absolute.get(unit) for unit in units]
        return np.array([s * self.share if g is None else g for s, g in zip(scale, given, strict=True)], np.float64)


def _split(text: str) -> tuple[float, str]:
    match = re.fullmatch(rf"\s*{_NUMBER}\s*([^\d\s]*)\s*", text)
    if match is None or not 0 < float(match[1]) < math.inf:
        raise ConfigError(
            f"--tolerance {text!r} is no number above 0 with %, with a unit, or alone; such as 1% or 0.01rad"
        )
    return float(match[1]), match[2]
