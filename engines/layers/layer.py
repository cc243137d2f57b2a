"""One layer of an engine, placed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Between the first and the last block of a row that holds several.
SEVERAL = " … "


class Layer(NamedTuple):
    """A layer's time, and the row of the table that it belongs to.

    Attributes:
        row: name of a block, or of several ("A … B"); empty if it could not be told.
        kind: of kernel; empty where the library does not say.
        ms: of each run.
    """

    row: str
    kind: str
    ms: Sequence[float]


class Work(NamedTuple):
    """What a row computes: multiplications of products of matrices in float and on integers."""

    floats: int = 0
    integers: int = 0

    def plus(self, multiplications: int, integers: bool) -> Work:
        """With one more product."""
        if integers:
            return self._replace(integers=self.integers + multiplications)
        return self._replace(floats=self.floats + multiplications)


class Placed(NamedTuple):
    """An engine's layers and what they compute, both by row; ``order`` has every row once, as the graph runs them."""

    layers: list[Layer]
    work: dict[str, Work]
    order: list[str]
