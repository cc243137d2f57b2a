"""What the guard process tells people of itself: log lines, stage times, ``status.json``."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.clock import Clock
from jetvla.runtime.contracts import Instruction
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event, TickResult
from jetvla.runtime.link.protocol import ChunkMessage, Health
from jetvla.runtime.telemetry.stage_times import StageTimes
from jetvla.runtime.telemetry.status import Status
from jetvla.services.journal import EVENT, STAGES

_EVENTS_KEPT = 20
_POLICY_STAGES = ("capture", "preprocess", "tokenize", "language", "step")

log = logging.getLogger("jetvla.guard")


class GuardReport:
    """Collects what happens. Nothing here decides anything.

    Attributes:
        reason: why the guard is in its state.
        policy: what the policy last did, for people.
        scheduling: how the deciding thread is scheduled, for people.
        stages: durations; by the table of :mod:`jetvla.runtime.telemetry.stages`.
    """

    def __init__(self, clock: Clock, bundle: str) -> None:
        self._clock, self._bundle = clock, bundle
        self.scheduling = "plain"
        self.reason = "started"
        self.policy = "not connected"
        self.stages = StageTimes(clock)
        self._ticks = self._chunks = 0
        self._counts: Counter[str] = Counter()
        self._events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._audit: AuditLog | None = None
        self._audit_problem = ""
        self._unanswered: ChunkMessage | None = None
        self._unreported: ChunkMessage | None = None
        self._taken_ns = 0

    @contextmanager
    def auditing(self, folder: Path | None, config: str) -> Iterator[None]:
        """Write every event into the audit log in ``folder`` meanwhile; None keeps none.

        Args:
            config: SHA-256 of the configuration.
        """
        if folder is None:
            yield
            return
        self._audit = AuditLog(folder, self._bundle, config)
        try:
            yield
        finally:
            lost = self._audit.close().lost
            self._audit = None
            if lost:
                self.note(f"audit: {lost} lines are lost")

    def configured(self, config: str) -> None:
        """The configuration has been reloaded; ``config`` is its SHA-256."""
        if self._audit is not None:
            self._audit.configured(config)

    def note(self, text: str, **fields: str) -> None:
        """One line for people; the same line twice in a row is said once. ``fields`` are the journal's."""
        if self._events and self._events[-1] == text:
            return
        log.info(text, extra=fields)
        self._events.append(text)

    def chunk(self, chunk: ChunkMessage) -> None:
        """A chunk has been taken in."""
        self._chunks += 1
        self._taken_ns = self._clock.now_ns()
        self._unanswered = self._unreported = chunk
        self.policy = "sends chunks"

    def health(self, health: Health) -> None:
        """Stage times of the newest chunk; a report without a new chunk adds nothing."""
        if self._unreported is None:
            return
        self._unreported = None
        for name in _POLICY_STAGES:
            # The language stages run once an instruction; their zero means that they did not run.
            if duration_ns := getattr(health.stages, name):
                self.stages.record(name, duration_ns)
        self.stages.record("link", max(self._taken_ns - health.sent_ns, 0))

    def decided(self, began_ns: int) -> None:
        """A tick has decided."""
        self._ticks += 1
        self.stages.record("guard", self._clock.now_ns() - began_ns)

    def published(self, result: TickResult, began_ns: int) -> None:
        """A command has been sent. The first one that a chunk decides ends the way of its frame."""
        now_ns = self._clock.now_ns()
        self.stages.record("publish", now_ns - began_ns)
        if self._unanswered is not None and result.verdict.reason == "policy":
            self.stages.record("age", now_ns - self._unanswered.t0_ns)
            self._unanswered = None

    def events(self, events: Iterable[Event]) -> bool:
        """Log and audit what the guard did; whether its state has changed. To be called every tick."""
        changed = False
        events = tuple(events)
        if self._audit is not None:
            self._audit.take(events)
        for event in events:
            self._counts[event.fault or event.kind] += 1
            if event.kind == "clip":
                continue  # as often as the policy asks; the count tells enough
            if event.kind == "state":
                self.reason, changed = event.reason, True
            label = " ".join(filter(None, (event.state.value, event.kind, event.fault)))
            self.note(f"{label}: {event.reason}", **self._fields(event))
        return changed

    def _fields(self, event: Event) -> dict[str, str]:
        p99_ms = {name: round(times["p99"], 3) for name, times in self.stages.summary().items()}
        return {EVENT: event.fault or event.kind, STAGES: json.dumps(p99_ms)}

    def _audited(self) -> dict[str, Any] | None:
        """How the audit log is; that it cannot be written is said once, and that it can again."""
        if self._audit is None:
            return None
        status = self._audit.status()
        if status.problem != self._audit_problem:
            self._audit_problem = status.problem
            self.note(f"audit: {status.problem or 'writes again'}; {status.lost} lines are lost so far")
        return status.as_dict()

    def status(self, state: State, instruction: Instruction | None) -> Status:
        """The report of this moment."""
        audit = self._audited()
        return Status(
            written_ns=self._clock.now_ns(),
            pid=os.getpid(),
            state=state.value,
            reason=self.reason,
            bundle=self._bundle,
            instruction=instruction.text if instruction else None,
            policy=self.policy,
            scheduling=self.scheduling,
            ticks=self._ticks,
            chunks=self._chunks,
            stages=self.stages.summary(),
            counts=dict(self._counts),
            events=list(self._events),
            audit=audit,
        )
