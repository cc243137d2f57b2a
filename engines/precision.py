"""Which blocks compute in INT8: as many multiplications as the error of the action allows.

A block is judged by what the policy does, and never by the error of a layer: much of what a layer gets wrong the
rest of the network forgives, and a little of it may move the hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jetvla.engines.blocks import Block
from jetvla.runtime.manifest import BlockReport, ErrorReport

# The search aims at half the tolerance: the episodes that judge its result are others, on which a policy that was
# trained on the searched ones errs more (measured on the zoo's gripper: up to twice as much).
SEARCH_LIMIT = 0.5
Score = Callable[[frozenset[str]], float]


@dataclass(frozen=True, eq=False)
class Judge:
    """How large an action error may be.

    Attributes:
        tolerance: largest mean error per dimension, in its unit; float64 [D], above 0.
        moving: the dimensions that vary in the recordings, which alone are judged; all are if none varies.
    """

    tolerance: NDArray[np.float64]
    moving: NDArray[np.bool_]

    def shares(self, error: ErrorReport) -> NDArray[np.float64]:
        """Mean error of each dimension divided by its tolerance; 0 where it is not judged. float64 [D]."""
        judged = self.moving if self.moving.any() else np.ones_like(self.moving)
        return np.where(judged, np.array(error.mean) / self.tolerance, 0.0)

    def score(self, error: ErrorReport) -> float:
        """The largest of :meth:`shares`: 1 is exactly at the tolerance."""
        return float(self.shares(error).max())


@dataclass(frozen=True)
class Placement:
    """What the search found.

    Attributes:
        keep_float: blocks that stay in float.
        reports: one for every block, in the order of the graph.
        score: of the graph with all other blocks in INT8.
        evaluations: how many graphs were measured.
    """

    keep_float: frozenset[str]
    reports: tuple[BlockReport, ...]
    score: float
    evaluations: int


class BlockSearch:
    """Finds the blocks to compute in INT8.

    Every block is measured alone. Then the blocks with the largest error per multiplication are left in float, just
    as many as bring the rest, measured together, within a limit; and of these again, largest first, every one that
    still fits is taken back. With N blocks at most 2 N + log2 N + 2 graphs are measured, the same ones for the same
    scores; another limit costs at most N + log2 N more, since no graph is measured twice.

    Args:
        blocks: of the graph, in its order.
        score: tolerance-relative action error of the graph with the given blocks kept in float.
        say: is told how far it is.
    """

    def __init__(self, blocks: Sequence[Block], score: Score, say: Callable[[str], None]) -> None:
        self._blocks, self._measure, self._say = blocks, score, say
        self._all = frozenset(block.name for block in blocks)
        self._size = {block.name: block.multiplications for block in blocks}
        self._known: dict[frozenset[str], float] = {frozenset(): 0.0}
        self._alone: dict[str, float] = {}

    def place(self, limit: float = SEARCH_LIMIT) -> Placement:
        """The blocks whose score together is at most ``limit``."""
        alone = self._measure_alone()
        chosen = self._all if self._score(self._all) <= limit else self._within(limit)
        together = dict.fromkeys(chosen, self._score(chosen))
        for name in sorted(self._all - chosen, key=lambda name: (-self._size[name], name)):
            # What is too much alone is not measured again with others.
            if alone[name] <= limit:
                together[name] = self._score(chosen | {name})
                chosen = chosen | {name} if together[name] <= limit else chosen
        share = sum(self._size[name] for name in chosen) / sum(self._size.values())
        self._say(f"{len(chosen)} of {len(self._all)} blocks in INT8, {share:.0%} of their multiplications")
        reports = tuple(_report(block, block.name in chosen, alone, together) for block in self._blocks)
        return Placement(self._all - chosen, reports, self._score(chosen), len(self._known) - 1)

    def _measure_alone(self) -> dict[str, float]:
        for number, block in enumerate(self._blocks[len(self._alone) :], 1):
            score = self._alone[block.name] = self._score(frozenset([block.name]))
            self._say(f"block {number} of {len(self._blocks)} alone: {block.name}, {score:.3f} of tolerance")
        return self._alone

    def _within(self, limit: float) -> frozenset[str]:
        """All blocks but the fewest of those with the largest error per multiplication that must stay in float."""
        worst = sorted(self._all, key=lambda name: (-self._alone[name] / self._size[name], name))
        too_few, enough = 0, len(worst)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            if self._score(self._all.difference(worst[:middle])) <= limit:
                enough = middle
            else:
                too_few = middle
        return self._all.difference(worst[:enough])

    def _score(self, integers: frozenset[str]) -> float:
        """Of the graph with exactly ``integers`` in INT8."""
        if integers not in self._known:
            self._known[integers] = self._measure(self._all - integers)
        return self._known[integers]


def _report(block: Block, chosen: bool, alone: dict[str, float], together: dict[str, float]) -> BlockReport:
    return BlockReport(
        name=block.name,
        precision="int8" if chosen else "float",
        alone=alone[block.name],
        together=together.get(block.name),
        share=block.share,
    )
