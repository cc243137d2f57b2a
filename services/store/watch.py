"""Looks at the daemons, and carries out what the health gate decides."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.config import TrialConfig
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.telemetry.status import Status, read_status
from jetvla.services.store.changes import changing
from jetvla.services.store.health import MOVING, Decision, HealthGate
from jetvla.services.store.store import Store
from jetvla.services.store.trial import Trial, read_trial
from jetvla.services.store.units import Units

log = logging.getLogger("jetvla.health")

# The guard reports twice a second.
_FRESH_S = 3.0
_REFUSING = (State.BOOT.value, State.DISARMED.value)


def fresh_status(path: Path, clock: Clock) -> Status | None:
    """The report of a living guard; None if there is none.

    A guard that was armed and cannot write any more may still be moving the robot: as long as it lives, what it
    reported last holds.
    """
    try:
        status = read_status(path)
    except JetvlaError:
        return None
    age_ns = clock.now_ns() - status.written_ns
    if 0 <= age_ns < seconds_to_ns(_FRESH_S):
        return status
    return status if age_ns >= 0 and status.state in MOVING and _lives(status.pid) else None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class HealthWatch:
    """One look after the other at a store and the daemons that run its current bundle.

    Args:
        read: the newest report; None if no guard reports.
        rate_hz: ticks per second of the guard.
    """

    def __init__(
        self, store: Store, units: Units, read: Callable[[], Status | None], limits: TrialConfig, rate_hz: float
    ) -> None:
        self._store, self._units, self._read = store, units, read
        self._limits, self._rate_hz = limits, rate_hz
        self._gate: HealthGate | None = None
        self._judged, self._told = "", ""
        self._ended = 0

    def look(self) -> None:
        """Judge the trial, and have the daemons take up the current bundle when the robot cannot move.

        Raises:
            JetvlaError: if something refuses; the next look tries again.
        """
        self._finish_interrupted()
        status = self._read()
        if self._store.trial is not None:
            self._judge(self._store.trial.digest, status)
        else:
            self._judged = ""
        self._take_up(status)

    def _judge(self, digest: str, status: Status | None) -> None:
        if self._gate is None or self._judged != digest:
            self._gate, self._judged = HealthGate(digest, self._limits, self._rate_hz), digest
            log.info("bundle %s is on trial: %g s in time commit it", digest[:12], self._limits.seconds)
            if self._store.history.verdict(digest) == "failed":
                self._gate.failure = "the trial had failed before this service was interrupted"
        decision = self._gate.look(status, self._units.restarts())
        if decision is Decision.COMMIT:
            with changing(self._store) as changes:
                changes.commit(digest, f"{self._gate.seconds:.0f} s in time, {self._gate.tally.clipped} ticks clipped")
        elif decision is Decision.ROLL_BACK:
            self._roll_back(digest, self._gate.failure, status)
        elif self._gate.failure:
            self._say(f"the trial has failed: {self._gate.failure}; it is rolled back when the robot is disarmed")

    def _roll_back(self, digest: str, reason: str, status: Status | None) -> None:
        """The guard ends first, by a controlled stop if somebody has armed it since its report."""
        with changing(self._store) as changes:
            changes.condemn(digest, reason)
            if self._store.previous is None:
                self._say(f"the trial has failed: {reason}; the bundle stays, for there is no previous one")
            else:
                self._restart(status, lambda: self._say(f"the trial has failed: {reason}; {changes.fall_back(reason)}"))
            changes.end_trial()

    def _finish_interrupted(self) -> None:
        """Killed between going back and starting, this service has left the daemons stopped."""
        if self._left_over() is None:
            return
        with changing(self._store) as changes:
            left = self._left_over()
            if left is None:
                return
            if self._store.history.verdict(left.digest) == "failed":
                self._units.start()
            changes.end_trial()

    def _left_over(self) -> Trial | None:
        trial = read_trial(self._store.trial_path)
        return trial if trial is not None and trial.digest != self._store.current else None

    def _take_up(self, status: Status | None) -> None:
        """A bundle that was activated, or that an operator went back to, runs from the next start on."""
        current = self._store.current
        if status is None or current is None or status.bundle == current or status.pid == self._ended:
            return
        if status.state in _REFUSING:
            log.info("guard and policy take up bundle %s", current[:12])
            self._restart(status, lambda: None)
        else:
            self._say(f"bundle {current[:12]} is taken up when the robot is disarmed")

    def _restart(self, status: Status | None, between: Callable[[], None]) -> None:
        self._units.stop()
        # What it reported last is not that of the bundle that runs from now on.
        self._ended = 0 if status is None else status.pid
        between()
        self._units.start()

    def _say(self, text: str) -> None:
        """Once, however often it is true."""
        if text != self._told:
            self._told = text
            log.warning(text)
