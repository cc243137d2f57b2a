"""``trial.json``: the bundle that was activated and has not proved itself yet."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from jetvla.runtime.disk import put_file
from jetvla.runtime.errors import StoreError


@dataclass(frozen=True, slots=True)
class Trial:
    """Which bundle is on trial, and since when for people (wall clock, UTC)."""

    digest: str
    since: str


def read_trial(path: Path) -> Trial | None:
    """The trial that is going on; None if there is none.

    Raises:
        StoreError: if the file is not one.
    """
    if not path.exists():
        return None
    try:
        return Trial(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it, and activate the bundle again") from error


def write_trial(trial: Trial, path: Path) -> None:
    put_file(path, json.dumps(asdict(trial)).encode() + b"\n")
