"""What the guard process tells people of itself: log lines, stage times, ``status.json``."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.clock import NS_PER_S, Clock, seconds_to_ns
from jetvla.runtime.contracts import Instruction, Verdict
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event, TickResult
from jetvla.runtime.guard.pacer import Wake
from jetvla.runtime.link.protocol import ChunkMessage, Health, Hello
from jetvla.runtime.telemetry.spans import NoSpans, SpanSink
from jetvla.runtime.telemetry.stage_times import StageTimes
from jetvla.runtime.telemetry.status import STOPS, Status
from jetvla.services.journal import EVENT, STAGES

_EVENTS_KEPT = 20
# A fault that comes and goes with every tick is told so often in so long; the counts have all of it.
_TOLD_AT_ONCE = 4
_STORM_NS = seconds_to_ns(1.0)
_POLICY_STAGES = ("capture", "preprocess", "tokenize", "language", "step")

log = logging.getLogger("jetvla.guard")


@dataclass
class _Storm:
    """One fault's events of a while: how many were told, how many were not, and the newest of those."""

    began_ns: int
    told: int = 0
    untold: int = 0
    newest: Event | None = None


class GuardReport:
    """Collects what happens. Nothing here decides anything.

    Attributes:
        reason: why the guard is in its state.
        policy: what the policy last did, for people.
        scheduling: how the deciding thread is scheduled, for people.
        rung: the rung of that, as in :class:`jetvla.runtime.guard.scheduling.Scheduling`.
        stages: durations; by the table of :mod:`jetvla.runtime.telemetry.stages`.
        spans: takes what ran when.
    """

    def __init__(self, clock: Clock, bundle: str) -> None:
        self._clock, self._bundle = clock, bundle
        self.scheduling = self.rung = "plain"
        self.reason = "started"
        self.policy = "not connected"
        self.stages = StageTimes(clock)
        self.spans: SpanSink = NoSpans()
        self._ticks = self._chunks = self._followed = self._clipped = self._connections = 0
        self._hello: Hello | None = None
        self._counts: Counter[str] = Counter()
        self._events: deque[str] = deque(maxlen=_EVENTS_KEPT)
        self._audit: AuditLog | None = None
        self._audit_problem = ""
        self._storms: dict[str, _Storm] = {}
        self._answered_ns = 0
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

    def hello(self, hello: Hello) -> None:
        """A policy has connected."""
        self._connections += 1
        self._hello, self.policy = hello, "connected"
        verdict = "passed" if hello.golden_passed else "FAILED"
        self.note(f"policy connected; golden self-test {verdict}, error {hello.golden_error:.2g}")

    def chunk(self, chunk: ChunkMessage) -> None:
        """A chunk has been taken in."""
        self._chunks += 1
        self._taken_ns = self._clock.now_ns()
        self._unreported = chunk
        self.policy = "sends chunks"

    def health(self, health: Health) -> None:
        """Stage times of the newest chunk; a report without a new chunk adds nothing."""
        if self._unreported is None:
            return
        frame_ns, self._unreported = self._unreported.t0_ns, None
        for name in _POLICY_STAGES:
            # The language stages run once an instruction; their zero means that they did not run.
            if duration_ns := getattr(health.stages, name):
                self.stages.record(name, duration_ns)
        # A policy that was put off while it sent notes the time of it only after the chunk has been taken in.
        self._ran("link", min(health.sent_ns, self._taken_ns), self._taken_ns, frame_ns)

    def woke(self, wake: Wake) -> None:
        """The next tick's thread was woken."""
        now_ns = self._clock.now_ns()
        self._ran("wake", now_ns - wake.late_ns, now_ns)

    def decided(self, verdict: Verdict, began_ns: int) -> None:
        """A tick has decided."""
        self._ticks += 1
        # What another bundle asks for, which cannot be armed, says nothing of this one.
        if verdict.reason == "policy" and self._hello is not None and self._hello.bundle == self._bundle:
            self._followed += 1
            self._clipped += bool(verdict.clipped)
        self._ran("guard", began_ns, self._clock.now_ns())

    def published(self, result: TickResult, began_ns: int) -> None:
        """A command has been sent. The first one that follows a frame's chunk ends the way of that frame."""
        now_ns = self._clock.now_ns()
        frame_ns = 0
        if result.verdict.reason == "policy" and result.verdict.frame_ns != self._answered_ns:
            frame_ns = self._answered_ns = result.verdict.frame_ns
            self._ran("age", frame_ns, now_ns, frame_ns)
        self._ran("publish", began_ns, now_ns, frame_ns)

    def _ran(self, stage: str, began_ns: int, ended_ns: int, frame_ns: int = 0) -> None:
        self.stages.record(stage, ended_ns - began_ns)
        self.spans.add(stage, began_ns, ended_ns - began_ns, frame_ns)

    def events(self, events: Iterable[Event]) -> bool:
        """Log and audit what the guard did; whether its state has changed. To be called every tick."""
        changed = False
        events = tuple(events)
        if self._audit is not None:
            self._audit.take(events)
        for event in events:
            # That a fault is over is not one more of it.
            self._counts[event.kind if event.kind == "cleared" else event.fault or event.kind] += 1
            if event.kind == "clip":
                continue  # as often as the policy asks; the count tells enough
            if event.kind == "state":
                self.reason, changed = event.reason, True
                self._counts[STOPS] += event.state is State.STOPPING
            if event.kind == "state":
                self._tell(event)
            else:
                self._tell_or_count(event)
        self._tell_what_was_counted()
        return changed

    def _tell_or_count(self, event: Event) -> None:
        storm = self._storms.setdefault(event.fault or event.kind, _Storm(self._clock.now_ns()))
        if storm.told < _TOLD_AT_ONCE:
            storm.told += 1
            self._tell(event)
        else:
            storm.untold += 1
            storm.newest = event

    def _tell_what_was_counted(self) -> None:
        """The newest of each fault's events is always told, though later."""
        now_ns = self._clock.now_ns()
        for fault in [f for f, storm in self._storms.items() if now_ns - storm.began_ns >= _STORM_NS]:
            storm = self._storms.pop(fault)
            if storm.newest is not None:
                self._tell(
                    storm.newest, f" (the last of {storm.untold} in {(now_ns - storm.began_ns) / NS_PER_S:.1f} s)"
                )

    def _tell(self, event: Event, more: str = "") -> None:
        label = " ".join(filter(None, (event.state.value, event.kind, event.fault)))
        self.note(f"{label}: {event.reason}{more}", **self._fields(event))

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
            followed=self._followed,
            clipped=self._clipped,
            connections=self._connections,
            golden=None if self._hello is None else self._hello.golden_passed,
            engine_key=None if self._hello is None else self._hello.engine_key,
            audit=audit,
            rung=self.rung,
            policy_bundle="" if self._hello is None else self._hello.bundle,
        )
