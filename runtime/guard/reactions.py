"""From faults to state: the only place where the guard's state changes."""

from __future__ import annotations

from collections.abc import Iterable

from jetvla.runtime.guard.arming import Arming, State
from jetvla.runtime.guard.events import EventLog
from jetvla.runtime.guard.faults import FAULTS, Finding, Reaction


class Reactions:
    """Applies the table of faults to the state, and records both."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._arming = Arming()
        self._active: dict[str, str] = {}
        self._latched_by = ""

    @property
    def state(self) -> State:
        return self._arming.state

    @property
    def latched_by(self) -> str:
        """Why it is latched; empty when it is not."""
        return self._latched_by

    @property
    def active(self) -> dict[str, str]:
        """Faults that last, with their reasons."""
        return dict(self._active)

    @property
    def ending(self) -> bool:
        """The robot is being stopped, or is kept stopped, whatever the policy says."""
        return self.state in (State.STOPPING, State.LATCHED)

    def go(self, state: State, reason: str) -> None:
        """Enter ``state``; ValueError if no arrow leads there."""
        self._arming.go(state)
        self._latched_by = reason if state is State.LATCHED else ""
        self._log.add("state", reason, state)

    def stop(self, reason: str) -> None:
        """Controlled stop; nothing to do unless armed."""
        if self.state is State.ARMED:
            self.go(State.STOPPING, reason)

    def observe(self, found: dict[str, str]) -> None:
        """Faults that are there now: those that began or ended are recorded, and all are reacted to."""
        before, self._active = self._active, found
        for name in [n for n in before if n not in found]:
            self._log.add("cleared", f"no longer: {before[name]}", self.state, name)
        for name, reason in found.items():
            if name not in before:
                self._log.add("fault", reason, self.state, name)
            self._react(name, reason)

    def report(self, findings: Iterable[Finding]) -> None:
        """Things that happened once."""
        for finding in findings:
            if finding.fault:
                self._log.add("fault", finding.reason, self.state, finding.fault, raw=finding.raw, sent=finding.sent)
                self._react(finding.fault, finding.reason)
            else:
                self._log.add("reject", finding.reason, self.state, raw=finding.raw)

    def _react(self, fault: str, reason: str) -> None:
        reaction = FAULTS[fault].reaction
        if reaction is Reaction.LATCH and self.state is not State.LATCHED:
            self.go(State.LATCHED, f"{fault}: {reason}")
        elif reaction is Reaction.STOP:
            self.stop(f"{fault}: {reason}")
