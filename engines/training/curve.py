"""The loss over a training run, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jetvla.runtime.errors import MissingDependency


class LossPoint(NamedTuple):
    """Loss of one step; ``held_out`` only after an epoch."""

    step: int
    loss: float
    held_out: float | None


def plot_losses(curve: Sequence[LossPoint], path: Path) -> None:
    """Draw ``curve`` to a PNG file, logarithmic, the training loss smoothed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency("matplotlib", "the loss plot", "pip install matplotlib") from None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="step", ylabel="mean squared error, normalised actions", yscale="log")
    window = max(1, len(curve) // 100)
    smooth = np.convolve([p.loss for p in curve], np.ones(window) / window, mode="valid")
    axes.plot([p.step for p in curve][window - 1 :], smooth, label="training")
    judged = [(p.step, p.held_out) for p in curve if p.held_out is not None]
    if judged:
        axes.plot(*zip(*judged, strict=True), marker="o", markersize=3, label="held-out episodes")
    axes.legend()
    axes.grid(alpha=0.3)
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=100)
    partial.replace(path)
