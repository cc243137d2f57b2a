"""``status.json``: what the guard last reported of itself and of the policy."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.errors import JetvlaError

# The guard reports every half second; a report older than this is the last word of one that no longer runs.
STALE_S = 3.0
# Among the counts: how often an armed guard began to stop the robot, whoever asked for it.
STOPS = "stops"

_log = logging.getLogger(__name__)


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
        followed: ticks that followed a chunk of this bundle within its time, published or in shadow, since the start.
        clipped: those of them in which the policy asked for more than velocity, range or box allow.
        connections: how often a policy has connected since the start.
        engine_key: of the engine that the policy runs, 64 hexadecimal digits; None before one has connected.
        golden: what the policy said of its golden self-test; None before one has connected.
        audit: the audit log, as in :class:`jetvla.runtime.audit.log.AuditStatus`; None if none is kept.
        rung: of its scheduling: ``fifo``, ``slice`` or ``plain``.
        policy_bundle: digest of what the policy that connected last runs; empty before one has connected.
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
    followed: int = 0
    clipped: int = 0
    connections: int = 0
    golden: bool | None = None
    audit: dict[str, Any] | None = None
    rung: str = "plain"
    policy_bundle: str = ""
    engine_key: str | None = None

    def age_s(self, now_ns: int) -> float:
        """How old the report is; below zero if it is of another start of the machine."""
        return (now_ns - self.written_ns) / NS_PER_S

    def fresh(self, now_ns: int) -> bool:
        """Whether the guard that wrote it still runs, as far as its reports tell."""
        return 0 <= self.age_s(now_ns) <= STALE_S

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def write_status(status: Status, path: Path) -> None:
    """Replace ``path``; a reader sees the old report or the new one, never half of one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(asdict(status)), encoding="utf-8")
    partial.replace(path)


class StatusWriter:
    """Writes reports in a thread of its own: a tick must not wait for a disk.

    Of reports that come faster than they are written only the newest is.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._failing = path, False
        self._posted: SimpleQueue[Status | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="status", daemon=True)
        self._thread.start()

    def post(self, status: Status) -> None:
        """Write ``status`` soon; returns at once."""
        self._posted.put(status)

    def close(self) -> None:
        """Write the last report, and end."""
        self._posted.put(None)
        self._thread.join()

    def _work(self) -> None:
        ended = False
        while not ended:
            waiting = [self._posted.get()]
            while not self._posted.empty():
                waiting.append(self._posted.get())
            ended = None in waiting
            newest = [status for status in waiting if status is not None][-1:]
            for status in newest:
                self._write(status)

    def _write(self, status: Status) -> None:
        """A report that cannot be written is no reason to stop a robot; it is said once."""
        try:
            write_status(status, self._path)
            self._failing = False
        except OSError as error:
            if not self._failing:
                _log.warning("%s cannot be written: %s", self._path, error.strerror)
            self._failing = True


def read_status(path: Path) -> Status:
    """Read a report; JetvlaError if there is none, or not one of this version."""
    try:
        return Status(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise JetvlaError(f"no guard has reported at {path}; start it with 'jetvla run'") from error
    except (ValueError, TypeError) as error:
        raise JetvlaError(f"{path} is not a status of this version ({error}); restart the guard") from error
