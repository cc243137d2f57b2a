"""What a demonstration shows: a moving picture and one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from jetvla.services.demonstration.trial import Outcome, Trial

_SHOWN = 4
_TILE_PX = 192
_CAPTION_PX = 28
_FRAME_MS = 200
_HOLD_MS = 1500
_COLOURS = 160


def last_line(outcome: Outcome) -> str:
    """The demonstration in one line."""
    age_ms = outcome.status.stages["age"]["p99"]
    return (
        f"demo: reached {outcome.reached} of {len(outcome.trials)}, "
        f"frame-to-command p99 {age_ms:.1f} ms, int8 action error {outcome.int8_error * 100:.2f} %"
    )


def stops_line(outcome: Outcome, log: Path) -> str:
    """How often the guard stopped the robot by itself; empty if it never did."""
    if outcome.armings <= 1:
        return ""
    line = f"the guard stopped the robot {outcome.armings - 1} times, and it was armed again; {log} says why"
    if outcome.stolen_s >= 1.0:
        line += (
            f"\nmeanwhile the host of this virtual machine took {outcome.stolen_s:.0f} s of processor time from it; "
            "more than 30 ms between two ticks stop the robot, whoever is to blame"
        )
    return line


def write_picture(outcome: Outcome, folder: Path) -> Path:
    """Write ``demo.gif``: the first attempts side by side, each with what was said."""
    shown = outcome.trials[:_SHOWN]
    length = max(len(t.pictures) for t in shown)
    frames = [_row(shown, index) for index in range(length)]
    durations = [_FRAME_MS] * (length - 1) + [_HOLD_MS]
    path = folder / "demo.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)
    return path


def _row(trials: tuple[Trial, ...], index: int) -> Image.Image:
    row = Image.fromarray(np.concatenate([_tile(t, index) for t in trials], axis=1))
    return row.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _tile(trial: Trial, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """One attempt at one moment, with a caption; its last picture stays when it is over."""
    over = index >= len(trial.pictures) - 1
    image = Image.fromarray(trial.pictures[min(index, len(trial.pictures) - 1)])
    # The camera's noise would make up most of the file.
    clean = image.filter(ImageFilter.MedianFilter(3)).resize((_TILE_PX, _TILE_PX), Image.Resampling.BILINEAR)
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX + _CAPTION_PX), "white")
    tile.paste(clean, (0, _CAPTION_PX))
    verdict = ("  reached" if trial.reached else "  missed") if over else ""
    ImageDraw.Draw(tile).text((6, 8), trial.said + verdict, fill="black")
    return np.asarray(tile)
