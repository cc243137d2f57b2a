"""The audit log as the guard sees it: a queue that never waits, and a thread that writes."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jetvla.runtime.audit.chain import LONGEST_REASON, RecordKind, numbers, stamped
from jetvla.runtime.audit.flood import Flood
from jetvla.runtime.audit.folder import MAX_BYTES, MAX_FILES, AuditFolder
from jetvla.runtime.clock import NS_PER_S
from jetvla.runtime.guard.events import Event

QUEUE = 4096
POLL_S = 0.05
SYNC_S = 1.0
RETRY_S = 1.0
CLOSE_S = 2.0
FLOOD_PER_S = 20.0
SHADOW_PER_S = 1.0
FLOOD_BURST = 100

Waiting = Event | dict[str, Any]
Origin = dict[str, str]


@dataclass(frozen=True, slots=True)
class AuditStatus:
    """How the audit log is.

    Attributes:
        folder: where it is written.
        written: lines since the start.
        waiting: events that are not written yet.
        lost: events that never will be, because the queue was full.
        suppressed: events above the rate of their kind.
        problem: why nothing can be written now; empty when it can.
    """

    folder: str
    written: int
    waiting: int
    lost: int
    suppressed: int
    problem: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class AuditLog:
    """Writes events into ``folder`` from construction until :meth:`close`.

    The thread wakes every 50 ms, writes what waits, and forces it onto the disk at most once a second: a kill loses
    what waited in the queue, a power cut about a second. While nothing can be written, up to ``queue`` events wait;
    what comes after is counted, and a line says how many were lost as soon as there is room again.

    Args:
        origin: SHA-256 of the bundle and of the configuration; they stand in every line.
    """

    def __init__(
        self,
        folder: Path,
        bundle: str,
        config: str,
        *,
        max_bytes: int = MAX_BYTES,
        max_files: int = MAX_FILES,
        queue: int = QUEUE,
    ) -> None:
        self._path = folder
        self._folder = AuditFolder(folder, max_bytes, max_files)
        self._origin: Origin = {"bundle": bundle, "config": config}
        self._capacity = queue
        # Appending to a deque and taking from it need no lock, so the tick cannot wait for the writer.
        self._queue: deque[tuple[Waiting, int, Origin]] = deque()
        self._flood = Flood(FLOOD_PER_S, SHADOW_PER_S, FLOOD_BURST)
        self._suppressed_due_ns = 0
        self._lost = self._unsaid = 0
        self._written = 0
        self._problem = ""
        self._retry_ns = self._sync_ns = 0
        self._closing = threading.Event()
        self._put(_here("start", pid=os.getpid()))
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    # On the tick's side. Nothing here waits.

    def take(self, events: Iterable[Event]) -> None:
        """Hand over what the guard did; call it every tick, with nothing too."""
        self._confess()
        for event in events:
            if self._flood.admits(event):
                self._put(event)
        if self._flood and (now_ns := time.monotonic_ns()) >= self._suppressed_due_ns:
            self._suppressed_due_ns = now_ns + NS_PER_S
            self._say_suppressed()

    def configured(self, config: str) -> None:
        """The configuration has been reloaded: a line says so, and what comes carries its SHA-256."""
        self._origin = {**self._origin, "config": config}
        self._put(_here("reload"))

    def status(self) -> AuditStatus:
        """The report of this moment."""
        alive = self._thread.is_alive() or self._closing.is_set()
        return AuditStatus(
            folder=str(self._path),
            written=self._written,
            waiting=len(self._queue),
            lost=self._lost,
            suppressed=self._flood.total,
            problem=self._problem if alive else "the thread that writes it has died",
        )

    def close(self, patience_s: float = CLOSE_S) -> AuditStatus:
        """Write what waits, and end. What could not be written within ``patience_s`` is counted as lost."""
        self._say_suppressed()
        self._confess()
        self._put(_here("end", lost=self._lost))
        self._closing.set()
        self._thread.join(patience_s)
        left = len(self._queue)
        self._lost += left
        return self.status()

    def _put(self, waiting: Waiting) -> None:
        if len(self._queue) >= self._capacity:
            self._lost += 1
            self._unsaid += 1
        else:
            self._queue.append((waiting, time.time_ns(), self._origin))

    def _confess(self) -> None:
        if self._unsaid and len(self._queue) < self._capacity:
            count, self._unsaid = self._unsaid, 0
            self._put(_here("lost", count=count, reason=self._problem or "the writer could not keep up"))

    def _say_suppressed(self) -> None:
        for (kind, fault, shadow), count in self._flood.drain().items():
            self._put(_here("suppressed", of=kind, fault=fault, shadow=shadow, count=count))

    # On the writer's side

    def _run(self) -> None:
        while not self._closing.wait(POLL_S):
            self._turn()
        self._retry_ns = self._sync_ns = 0
        self._turn()
        self._folder.close()

    def _turn(self) -> None:
        now_ns = time.monotonic_ns()
        if now_ns < self._retry_ns:
            return
        try:
            self._drain()
            if now_ns >= self._sync_ns:
                self._sync_ns = now_ns + round(SYNC_S * NS_PER_S)
                self._folder.sync()
            self._problem = ""
        except OSError as error:
            self._problem = f"cannot write into {self._path}: {error.strerror or error}"
            self._retry_ns = now_ns + round(RETRY_S * NS_PER_S)

    def _drain(self) -> None:
        while self._queue:
            self._folder.append(_entry(*self._queue[0]))
            # Taken away only now: what could not be written stays the first in the queue.
            self._queue.popleft()
            self._written += 1


def _entry(waiting: Waiting, wall_ns: int, origin: Origin) -> dict[str, Any]:
    if not isinstance(waiting, Event):
        fields = dict(waiting)
        return stamped(fields.pop("kind"), wall_ns, fields.pop("t_ns"), **fields, **origin)
    return stamped(
        waiting.kind,
        wall_ns,
        waiting.t_ns,
        state=waiting.state.value,
        fault=waiting.fault,
        reason=waiting.reason[:LONGEST_REASON],
        raw=numbers(waiting.raw),
        sent=numbers(waiting.sent),
        **origin,
    )


def _here(kind: RecordKind, **fields: Any) -> dict[str, Any]:
    """An entry that is not an event of the guard."""
    return {"kind": kind, "t_ns": time.monotonic_ns(), **fields}
