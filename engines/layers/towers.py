"""The towers of a policy, and which blocks they hold."""

from __future__ import annotations

from typing import Literal, get_args

from jetvla.engines.layers.layer import SEVERAL

Tower = Literal["vision", "language", "fusion", "head"]
TOWERS: tuple[Tower, ...] = get_args(Tower)

# By how the name of a block begins.
_BLOCKS: dict[str, Tower] = {
    "patch embedding": "vision",
    "ViT block": "vision",
    "vision": "vision",
    "ResNet": "vision",
    "image projection": "vision",
    "text": "language",
    "first fusion layer": "fusion",
    "fusion layer": "fusion",
    "last fusion layer": "fusion",
    "state projection": "fusion",
    "encoder layer": "fusion",
    "decoder layer": "fusion",
    "action head": "head",
}


def tower_of(row: str) -> Tower | None:
    """The tower of a block, or of several ("A … B") if they are all of one; None if it is of none."""
    towers = {next((t for start, t in _BLOCKS.items() if part.startswith(start)), None) for part in row.split(SEVERAL)}
    return towers.pop() if len(towers) == 1 else None
