"""``trial.json``: the bundle that was activated and has not proved itself yet."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from jetvla.runtime.disk import put_file
from jetvla.runtime.errors import StoreError


@dataclass(frozen=True, slots=True)
class Trial:
    """Which bundle is on trial, and since when for people (wall clock, UTC).

    Attributes:
        former: the bundle whose trial this one ends, while its activation is under way; else empty. Cut off before the
            link is switched, that bundle is on trial as before.
    """

    digest: str
    since: str
    former: str = ""

    def of(self, current: str | None) -> Trial | None:
        """The trial that ``current`` is on by this; None if it is on none."""
        if self.digest == current:
            return self
        return Trial(self.former, self.since) if self.former and self.former == current else None


def read_trial(path: Path) -> Trial | None:
    """What is written there; None if nothing is.

    Raises:
        StoreError: if the file is none, or cannot be read.
    """
    try:
        return Trial(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); run this as a user who may") from error
    except (ValueError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it, and activate the bundle again") from error


def write_trial(trial: Trial, path: Path) -> None:
    put_file(path, json.dumps(asdict(trial)).encode() + b"\n")
