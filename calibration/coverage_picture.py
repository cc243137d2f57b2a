"""What a data set covers, as a picture: actions, sentences, and frames spread over all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.coverage import BINS, Coverage, Spread
from jetvla.calibration.episodes import Episode
from jetvla.runtime.errors import ConfigError, MissingDependency
from jetvla.runtime.manifest import ResizeSpec
from jetvla.runtime.preprocess import resize

TILES, COLUMNS, TILE_WIDTH = 24, 8, 240
SENTENCES = 12
_BLUE, _LIGHT, _DARK, _PALE = "#3b6fb6", "#a9c4e6", "#1f2d3d", "#e8ecf1"
_WIDTH_IN, _ROW_IN = 15.0, 0.24


def draw(coverage: Coverage, episodes: Sequence[Episode], title: str, path: Path) -> None:
    """Write a PNG, whole or not at all; ConfigError if the disk refuses, MissingDependency without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "the coverage picture", "pip install matplotlib") from None
    tiles = [(e.name, step, tile) for e, step, tile in thumbnails(episodes, TILES)]
    rows = -(-len(tiles) // COLUMNS)
    shape = tiles[0][2].shape
    sheet_in = rows * (_WIDTH_IN / COLUMNS * shape[0] / shape[1] + 0.3) + 0.4
    dimensions = 0 if coverage.actions is None else len(coverage.actions.names)
    upper_in = max(1.0 + _ROW_IN * dimensions, 3.0 + _ROW_IN * _sentence_rows(coverage))
    figure = Figure(figsize=(_WIDTH_IN, upper_in + sheet_in + 0.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=15, color=_DARK, x=0.01, ha="left", fontweight="bold", parse_math=False)
    parts: Any = figure.subfigures(2, 1, height_ratios=[upper_in, sheet_in])
    _numbers(parts[0], upper_in, coverage, episodes)
    _sheet(parts[1], tiles, rows)
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format="png", dpi=110)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); choose another place") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def thumbnails(episodes: Sequence[Episode], count: int) -> list[tuple[Episode, int, NDArray[np.uint8]]]:
    """``count`` moments, evenly spread over all frames: every camera's image at that step, side by side.

    Every picture is uint8 [H, ``TILE_WIDTH`` or a little less, 3]; a camera that an episode lacks stays dark in it.
    """
    cameras = sorted({camera for episode in episodes for camera in episode.cameras})
    ends = np.cumsum([len(episode) for episode in episodes])
    chosen = np.unique(np.linspace(0, ends[-1] - 1, min(count, int(ends[-1]))).round().astype(int))
    owner = np.searchsorted(ends, chosen, side="right")
    tiles = []
    for number, group in groupby(zip(owner, chosen, strict=True), key=lambda pair: pair[0]):
        episode = episodes[number]
        steps = [int(frame - ends[number] + len(episode)) for _, frame in group]
        views = [_small(episode, camera, steps, TILE_WIDTH // len(cameras)) for camera in cameras]
        tiles += [(episode, step, np.hstack(seen)) for step, *seen in zip(steps, *views, strict=True)]
    return tiles


def _small(episode: Episode, camera: str, steps: Sequence[int], width: int) -> list[NDArray[np.uint8]]:
    height = width * 3 // 4
    if camera not in episode.cameras:
        return [np.zeros((height, width, 3), np.uint8) for _ in steps]
    whole = ResizeSpec(method="opencv_area", fit="pad")
    return [resize(image, height, width, whole) for image in episode.images(camera, steps)]


def _numbers(figure: Any, figure_in: float, coverage: Coverage, episodes: Sequence[Episode]) -> None:
    rows_in = 0.6 + _ROW_IN * _sentence_rows(coverage)
    grid = figure.add_gridspec(2, 2, width_ratios=[3, 2], height_ratios=[rows_in, max(2.0, figure_in - rows_in)])
    _actions(figure.add_subplot(grid[:, 0]), coverage.actions)
    _sentences(figure.add_subplot(grid[0, 1]), coverage)
    _lengths(figure.add_subplot(grid[1, 1]), [len(episode) for episode in episodes])


def _sentence_rows(coverage: Coverage) -> int:
    return min(SENTENCES, max(4, len(coverage.instructions)))


def _actions(axes: Any, actions: Spread | None) -> None:
    axes.set_title("recorded actions, each over its own range", loc="left", color=_DARK, fontsize=11)
    axes.set_yticks([])
    if actions is None:
        axes.text(0.5, 0.5, "no actions are recorded", ha="center", va="center", color="grey", transform=axes.transAxes)
        axes.set_xticks([])
        return
    centres = (np.arange(BINS) + 0.5) / BINS
    for row, counts in enumerate(actions.histogram):
        y = len(actions.names) - 1 - row
        axes.axhspan(y - 0.46, y + 0.46, color=_PALE, lw=0)
        if actions.min[row] < actions.max[row]:
            height = 0.45 * np.sqrt(counts / counts.max())
            axes.fill_between(centres, y - height, y + height, color=_BLUE, lw=0, step="mid")
            mean = (actions.mean[row] - actions.min[row]) / (actions.max[row] - actions.min[row])
            axes.plot([mean, mean], [y - 0.45, y + 0.45], color=_DARK, lw=1.4)
        else:
            axes.text(0.5, y, "never moves", ha="center", va="center", color="grey", fontsize=8)
        axes.text(1.01, y, f"{actions.max[row]:.3g}", va="center", fontsize=8, color=_DARK)
        axes.text(-0.01, y, f"{actions.min[row]:.3g}", va="center", ha="right", fontsize=8, color=_DARK)
        axes.text(-0.09, y, actions.names[row], va="center", ha="right", fontsize=9, color=_DARK, parse_math=False)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(actions.names) - 0.4), xticks=[])
    axes.set_xlabel("smallest  →  largest; height: square root of steps; dark line: mean", fontsize=8, color="grey")
    axes.spines[:].set_visible(False)


def _sentences(axes: Any, coverage: Coverage) -> None:
    axes.set_title("frames per instruction", loc="left", color=_DARK, fontsize=11)
    common = coverage.instructions.most_common(SENTENCES)
    most = max((frames for _, frames in common), default=1)
    rest = len(coverage.instructions) - len(common)
    for row, (text, frames) in enumerate(common):
        axes.axhspan(-row - 0.42, -row + 0.42, color=_PALE, lw=0)
        axes.barh(-row, frames, color=_LIGHT, height=0.84)
        axes.text(0, -row, f"  {_short(text)}", va="center", fontsize=9, color=_DARK, parse_math=False)
        axes.text(most * 1.01, -row, f" {frames}", va="center", fontsize=9, color=_DARK)
    if rest:
        axes.set_xlabel(f"and {rest} more", fontsize=9, color="grey")
    axes.set(xlim=(0, most), ylim=(-max(len(common), 4) + 0.5, 0.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _lengths(axes: Any, lengths: Sequence[int]) -> None:
    axes.set_title("frames per episode", loc="left", color=_DARK, fontsize=11)
    axes.bar(range(len(lengths)), lengths, color=_BLUE, width=0.8 if len(lengths) < 100 else 1.0)
    axes.set_xticks([0, len(lengths) - 1] if len(lengths) > 1 else [0])
    axes.tick_params(labelsize=8, colors=_DARK, length=0)
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=_PALE)
    axes.set_axisbelow(True)


def _short(text: str) -> str:
    return text if len(text) <= 70 else text[:69] + "…"


def _sheet(figure: Any, tiles: Sequence[tuple[str, int, NDArray[np.uint8]]], rows: int) -> None:
    figure.suptitle("frames, evenly spread over all episodes", x=0.01, ha="left", color=_DARK, fontsize=11)
    grid = np.atleast_1d(figure.subplots(rows, COLUMNS, squeeze=False)).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, (name, step, tile) in zip(grid, tiles, strict=False):
        axes.imshow(tile)
        axes.set_title(f"{name} · {step}", fontsize=7, color="grey", pad=2, parse_math=False)
