"""Where LeRobot data sets of either version keep each episode's rows, frames and tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from jetvla.calibration.episodes.lerobot_info import INFO, Info, filled
from jetvla.calibration.episodes.tables import columns, load_pyarrow, rows_of
from jetvla.runtime.errors import EpisodeError


class Footage(NamedTuple):
    """Part of a video: from ``start_s`` on; ``whole`` if the video holds nothing else."""

    path: Path
    start_s: Fraction
    whole: bool


@dataclass(frozen=True)
class Listed:
    """What the metadata says of one episode. ``videos`` by column."""

    index: int
    length: int
    table: Path
    videos: Mapping[str, Footage]

    @property
    def name(self) -> str:
        """As v2.1 calls its files."""
        return f"episode_{self.index:06d}"


class Layout(NamedTuple):
    """How one version is laid out: its episodes in order; its tasks by number."""

    episodes: Callable[[Path, Info], list[Listed]]
    tasks: Callable[[Path], dict[int, str]]


def find_layout(root: Path, info: Info) -> Layout:
    """The one that ``codebase_version`` names; EpisodeError names those supported and the converter."""
    if info.codebase_version in LAYOUTS:
        return LAYOUTS[info.codebase_version]
    raise EpisodeError(
        f"{root / INFO}: codebase_version is {info.codebase_version!r}, supported are {' and '.join(LAYOUTS)}; "
        "LeRobot's own converters, lerobot/.../convert_dataset_v20_to_v21.py and convert_dataset_v21_to_v30.py, "
        "bring older data sets there one version at a time"
    )


def _episodes_v21(root: Path, info: Info) -> list[Listed]:
    rows = _json_lines(root / "meta/episodes.jsonl", episode_index=int, length=int)
    return [_listed_v21(root, info, row) for row in rows]


def _listed_v21(root: Path, info: Info, row: Mapping[str, Any]) -> Listed:
    where = {"episode_index": row["episode_index"], "episode_chunk": row["episode_index"] // info.chunks_size}
    videos = {
        key: Footage(filled(root, info.video_path or "", video_key=key, **where), Fraction(0), True)
        for key in _video_keys(info)
    }
    return Listed(where["episode_index"], row["length"], filled(root, info.data_path, **where), videos)


def _tasks_v21(root: Path) -> dict[int, str]:
    rows = _json_lines(root / "meta/tasks.jsonl", task_index=int, task=str)
    return {row["task_index"]: row["task"] for row in rows}


def _episodes_v30(root: Path, info: Info) -> list[Listed]:
    kinds: dict[str, type] = dict.fromkeys(("episode_index", "length", "data/chunk_index", "data/file_index"), int)
    parts = {"chunk_index": int, "file_index": int, "from_timestamp": float, "to_timestamp": float}
    kinds |= {f"videos/{key}/{part}": kind for key in _video_keys(info) for part, kind in parts.items()}
    files = sorted((root / "meta/episodes").glob("*/*.parquet"))
    if not files:
        raise EpisodeError(f"{root / 'meta/episodes'} holds no parquet file; copy the data set again")
    rows = [row for file in files for row in rows_of(file, kinds)]
    return sorted((_listed_v30(root, info, row) for row in rows), key=lambda listed: listed.index)


def _listed_v30(root: Path, info: Info, row: Mapping[str, Any]) -> Listed:
    table = filled(root, info.data_path, chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
    videos = {key: _footage_v30(root, info, key, row) for key in _video_keys(info)}
    return Listed(row["episode_index"], row["length"], table, videos)


def _footage_v30(root: Path, info: Info, key: str, row: Mapping[str, Any]) -> Footage:
    chunk, file, start, stop = (
        row[f"videos/{key}/{part}"] for part in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    )
    if round((stop - start) * info.fps) != row["length"]:
        raise EpisodeError(
            f"{root / 'meta/episodes'}: episode {row['episode_index']} has {row['length']} steps, but {key} runs from "
            f"{start:g} s to {stop:g} s, which is {round((stop - start) * info.fps)} frames at {info.fps:g} per second"
        )
    path = filled(root, info.video_path or "", video_key=key, chunk_index=chunk, file_index=file)
    return Footage(path, Fraction(start), False)


def _tasks_v30(root: Path) -> dict[int, str]:
    """The sentence is the table's index, under whatever name pandas gave it."""
    path, pa = root / "meta/tasks.parquet", load_pyarrow()
    text = [name for name, kind in columns(path).items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    if not text:
        raise EpisodeError(f"{path} has no column of sentences; copy the data set again")
    return {row["task_index"]: row[text[0]] for row in rows_of(path, {"task_index": int, text[0]: str})}


def _video_keys(info: Info) -> list[str]:
    return [key for key, feature in info.features.items() if feature.dtype == "video"]


def _json_lines(path: Path, **wanted: type) -> Iterator[Mapping[str, Any]]:
    """Values of type ``wanted``, by key, line by line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EpisodeError(f"{path} cannot be read: {error}; copy the data set again") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            values = {key: row[key] for key in wanted}
            # JSON can spell half a character, which no text can hold.
            json.dumps(values, ensure_ascii=False).encode()
        except (ValueError, KeyError, TypeError, RecursionError):
            values = {}
        if not all(type(values.get(key)) is kind for key, kind in wanted.items()):
            kinds = " and ".join(f"{key} ({kind.__name__})" for key, kind in wanted.items())
            raise EpisodeError(f"{path}:{number} is not a JSON object with {kinds}; copy the data set again")
        yield values


LAYOUTS: dict[str, Layout] = {
    "v2.1": Layout(_episodes_v21, _tasks_v21),
    "v3.0": Layout(_episodes_v30, _tasks_v30),
}
