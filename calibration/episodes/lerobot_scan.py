"""One pass over a LeRobot table: where each episode's rows lie, what is said there, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.episodes.sentences import Sentences
from jetvla.calibration.episodes.tables import batches, columns, integers, matrix
from jetvla.runtime.errors import EpisodeError

EPISODE, TASK = "episode_index", "task_index"
# Rows in memory at once.
_ROWS = 4096


@dataclass
class Segment:
    """Rows ``start`` to ``start + rows - 1`` of a table are one episode.

    Attributes:
        tasks: task number and rows, in order.
        problem: what is wrong with the first bad number, or "".
    """

    start: int
    rows: int = 0
    tasks: list[tuple[int, int]] = field(default_factory=list)
    problem: str = ""

    def sentences(self, tasks: Mapping[int, str], table: Path) -> Sentences:
        """What is said; EpisodeError for a task that the data set does not list."""
        unknown = sorted({number for number, _ in self.tasks} - set(tasks))
        if unknown:
            raise EpisodeError(f"{table}: task_index {unknown[0]} is not in the data set's list of tasks; add it")
        return Sentences((tasks[number], rows) for number, rows in self.tasks)


def scan(table: Path, numbers: Mapping[str, int], pictures: Sequence[str]) -> dict[int, Segment]:
    """Segments by episode number.

    Args:
        table: parquet file with one or more episodes.
        numbers: column to width; every number must be finite.
        pictures: columns that must be there.

    Raises:
        EpisodeError: a missing, damaged or mis-shaped table.
    """
    missing = sorted({EPISODE, TASK, *numbers, *pictures} - set(columns(table)))
    if missing:
        raise EpisodeError(f"{table} has no column {', '.join(missing)}, which meta/info.json promises")
    segments: dict[int, Segment] = {}
    row = 0
    for batch in batches(table, [EPISODE, TASK, *numbers], _ROWS):
        for episode, start, stop in _runs(integers(table, EPISODE, batch.column(EPISODE))):
            segment = segments.setdefault(episode, Segment(row + start))
            if segment.start + segment.rows != row + start:
                raise EpisodeError(f"{table}: the rows of episode {episode} are not together; sort the table")
            _extend(segment, table, batch.slice(start, stop - start), numbers)
        row += batch.num_rows
    return segments


def _extend(segment: Segment, table: Path, rows: Any, numbers: Mapping[str, int]) -> None:
    for name, width in numbers.items():
        finite = np.isfinite(matrix(table, name, rows.column(name), width)).all(axis=1)
        if not segment.problem and not finite.all():
            step = segment.rows + int(finite.argmin())
            segment.problem = f"'{name}' has values that are not finite, first at step {step}; remove the episode"
    segment.tasks += [(task, stop - start) for task, start, stop in _runs(integers(table, TASK, rows.column(TASK)))]
    segment.rows += rows.num_rows


def _runs(values: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Value, start and end of every run of equal values."""
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return ((int(values[a]), a, b) for a, b in pairwise(cuts) if b > a)
