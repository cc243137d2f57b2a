"""``status.json``: what the guard last reported of itself and of the policy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jetvla.runtime.errors import JetvlaError


@dataclass(frozen=True, slots=True)
class Status:
    """One report.

    Attributes:
        written_ns: when, on the monotonic clock.
        pid: the guard's process.
        state: arming state.
        reason: why it is in this state.
        bundle: digest.
        instruction: the sentence that holds now, or None.
        policy: what the policy last said of itself, for people.
        scheduling: how the guard is scheduled, for people.
        ticks: ticks since the start.
        chunks: chunks accepted since the start.
        stages: by stage, milliseconds as ``p50 p90 p99 p99.9 max`` and ``count``, over the last window.
        counts: events since the start, by name.
        events: the newest events, oldest first, for people.
        audit: the audit log, as in :class:`jetvla.runtime.audit.log.AuditStatus`; None if none is kept.
    """

    written_ns: int
    pid: int
    state: str
    reason: str
    bundle: str
    instruction: str | None
    policy: str
    scheduling: str
    ticks: int
    chunks: int
    stages: dict[str, dict[str, float]]
    counts: dict[str, int]
    events: list[str]
    audit: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def write_status(status: Status, path: Path) -> None:
    """Replace ``path``; a reader sees the old report or the new one, never half of one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(asdict(status)), encoding="utf-8")
    partial.replace(path)


def read_status(path: Path) -> Status:
    """Read a report; JetvlaError if there is none, or not one of this version."""
    try:
        return Status(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise JetvlaError(f"no guard has reported at {path}; start it with 'jetvla run'") from error
    except (ValueError, TypeError) as error:
        raise JetvlaError(f"{path} is not a status of this version ({error}); restart the guard") from error
