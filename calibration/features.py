"""What an observation looks like, in a few numbers: near features, near observations.

Memory: ``4 N (192 C + S)`` bytes for N candidates, C cameras and S state numbers, four times that while they are
standardised; besides, one decoded image and the states of one episode. With the pool of
:mod:`jetvla.calibration.select` (N at most 4096) that is 12 MiB per camera and 64 KiB per state number, however
large the data set is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.errors import EpisodeError
from jetvla.runtime.manifest import ResizeSpec
from jetvla.runtime.preprocess import Resizer

if TYPE_CHECKING:
    from jetvla.calibration.episodes import Episode

THUMBNAIL = 8
_STILL = 1e-6
Features = NDArray[np.float32]
Wanted = Sequence[tuple["Episode", list[int]]]


def features(
    episodes: Sequence[Episode], pool: Sequence[tuple[int, int]], cameras: Sequence[str] | None = None
) -> Features:
    """One row for every (episode, step) of ``pool``, so scaled that image and state weigh alike.

    The image part is an 8x8 RGB thumbnail per camera, averaged over areas, less the mean thumbnail. The state part
    is every number less its mean, over its standard deviation; one that stands still is 0. Each part is then scaled
    to a mean square length of 1, and is all 0 if it never changes.

    Args:
        episodes: what ``pool`` counts.
        pool: ascending, none twice; as :func:`jetvla.calibration.select.candidates` gives it.
        cameras: which to look at; all those of the first episode if None.

    Returns:
        float32 [N, 192 C + S], or [N, 192 C] without state.

    Raises:
        EpisodeError: an episode lacks a camera, has another number of state numbers than the others, or one that is
            not finite.
    """
    if not pool or any(a >= b for a, b in pairwise(pool)):
        raise ValueError("the pool must be ascending and not empty")
    wanted = [(episodes[n], [step for _, step in part]) for n, part in groupby(pool, key=itemgetter(0))]
    names = tuple(wanted[0][0].cameras if cameras is None else cameras)
    parts = [_scaled(_thumbnails(wanted, names, len(pool)))]
    states = _states(wanted)
    if states is not None:
        parts.append(_scaled(_standardised(states)))
    return np.concatenate(parts, axis=1)


def _thumbnails(wanted: Wanted, cameras: Sequence[str], count: int) -> Features:
    shrink = Resizer(THUMBNAIL, THUMBNAIL, ResizeSpec(method="opencv_area", fit="stretch"))
    rows = np.empty((count, len(cameras), THUMBNAIL, THUMBNAIL, 3), np.float32)
    start = 0
    for episode, steps in wanted:
        for number, camera in enumerate(cameras):
            for row, image in zip(range(start, start + len(steps)), episode.images(camera, steps), strict=True):
                rows[row, number] = shrink(image)
        start += len(steps)
    return rows.reshape(count, -1)


def _states(wanted: Wanted) -> Features | None:
    rows: list[Features] = []
    for episode, steps in wanted:
        state = episode.state
        # A missing state is one of no numbers.
        row = np.zeros((len(steps), 0), np.float32) if state is None else state[steps]
        if rows and row.shape[1] != rows[0].shape[1]:
            raise EpisodeError(
                f"{episode.name} has {row.shape[1]} state numbers per step but {wanted[0][0].name} has "
                f"{rows[0].shape[1]}; calibrate with episodes that agree"
            )
        bad = np.flatnonzero(~np.isfinite(row).all(axis=1))
        if bad.size:
            raise EpisodeError(
                f"{episode.name}: the state of step {steps[bad[0]]} is not finite; leave the episode out"
            )
        rows.append(row)
    return np.concatenate(rows) if rows[0].shape[1] else None


def _standardised(values: Features) -> Features:
    centred = _centred(values)
    spread = centred.std(axis=0, dtype=np.float64)
    scale = np.where(spread > _STILL, 1 / np.maximum(spread, _STILL), 0.0).astype(np.float32)
    return np.asarray(centred * scale, np.float32)


def _scaled(part: Features) -> Features:
    centred = _centred(part)
    length = float(np.sqrt(np.square(centred).sum(axis=1, dtype=np.float64).mean()))
    return np.asarray(centred * np.float32(1 / length if length > _STILL else 0), np.float32)


def _centred(values: Features) -> Features:
    return np.asarray(values - values.mean(axis=0, dtype=np.float64).astype(np.float32), np.float32)
