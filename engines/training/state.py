"""What a training run needs to go on exactly where it was."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jetvla.engines.checkpoint import read_pickle
from jetvla.runtime.errors import CheckpointError


@dataclass(frozen=True)
class TrainingState:
    """``fingerprint`` identifies settings and episodes; ``curve`` holds (step, loss, held-out loss or None)."""

    fingerprint: str
    step: int
    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    rng: Tensor
    curve: list[tuple[int, float, float | None]]


def save_state(state: TrainingState, path: Path) -> None:
    """Write ``state`` atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    torch.save(dict(vars(state)), partial)
    partial.replace(path)


def load_state(path: Path) -> TrainingState:
    """Read a state; CheckpointError if there is none or it is damaged."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing, so there is nothing to resume; train without --resume")
    raw = read_pickle(path)
    names = {field.name for field in fields(TrainingState)}
    if not isinstance(raw, dict) or raw.keys() != names:
        raise CheckpointError(f"{path} is not a training state of this version; train without --resume")
    return TrainingState(**raw)
