"""``meta/info.json`` of a LeRobot data set: what its columns and cameras are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from jetvla.runtime.errors import EpisodeError

INFO = "meta/info.json"
ACTION, STATE = "action", "observation.state"


class Feature(BaseModel):
    """One column, or one camera: ``dtype`` video, image, or a number's; ``names`` nested as its recorder liked."""

    dtype: str
    shape: tuple[int, ...]
    names: Any = None

    @property
    def flat_names(self) -> tuple[str, ...] | None:
        """D names; None if none are stated, or not one for each number."""
        names = tuple(_flattened(self.names))
        return names if len(names) == self.shape[0] else None


class Info(BaseModel):
    """The file, as far as it is needed. ``data_path`` and ``video_path`` are format strings."""

    codebase_version: str
    fps: float = Field(gt=0, allow_inf_nan=False)
    features: dict[str, Feature]
    data_path: str
    video_path: str | None = None
    chunks_size: int = Field(default=1000, gt=0)
    total_episodes: int = Field(ge=0)

    @property
    def cameras(self) -> dict[str, str]:
        """Camera name to column: ``observation.images.cam_high`` is called ``cam_high``."""
        keys = [key for key, feature in self.features.items() if feature.dtype in ("video", "image")]
        return {key.removeprefix("observation.").removeprefix("images."): key for key in keys}

    @property
    def numbers(self) -> dict[str, int]:
        """State and action, those that there are: column to width."""
        return {key: self.features[key].shape[0] for key in (STATE, ACTION) if key in self.features}

    def names(self, key: str) -> tuple[str, ...] | None:
        """Of the numbers of column ``key``."""
        return self.features[key].flat_names if key in self.features else None


def read_info(root: Path) -> Info:
    """Parse ``meta/info.json`` of ``root``; EpisodeError names every wrong key."""
    path = root / INFO
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        # JSON can spell half a character, which no name can hold.
        json.dumps(raw, ensure_ascii=False).encode()
        info = Info.model_validate(raw)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            raise EpisodeError(f"{path}: " + "; ".join(map(_problem, error.errors()))) from None
        raise EpisodeError(f"{path} cannot be read: {error}") from None
    for key in (STATE, ACTION):
        if key in info.features and len(info.features[key].shape) != 1:
            raise EpisodeError(f"{path}: '{key}' must have a shape [D], not {list(info.features[key].shape)}")
    if info.video_path is None and any(f.dtype == "video" for f in info.features.values()):
        raise EpisodeError(f"{path}: 'video_path' is missing, though there are cameras of dtype video")
    return info


def filled(root: Path, template: str, **parts: int | str) -> Path:
    """``template`` of the info file, under ``root``; EpisodeError if it asks for other ``parts``."""
    try:
        return root / template.format(**parts)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise EpisodeError(
            f"{root / INFO}: the path {template!r} asks for {error}; known: {', '.join(parts)}"
        ) from None


def _problem(error: Any) -> str:
    return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def _flattened(names: Any) -> list[str]:
    if isinstance(names, dict):
        # Some recorders write {"x": 0, "y": 1}, others {"motors": ["x", "y"]}.
        if all(isinstance(place, int) for place in names.values()):
            return sorted(names, key=lambda name: names[name])
        return _flattened(list(names.values()))
    if isinstance(names, (list, tuple)):
        return [flat for name in names for flat in _flattened(name)]
    return [] if names is None else [str(names)]
