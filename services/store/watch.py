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
from jetvla.services.store.trial import read_trial
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
        trusted: folder of the keys whose bundles may run.
        read: the newest report; None if no guard reports.
        rate_hz: ticks per second of the guard.
    """

    def __init__(
        self,
        store: Store,
        trusted: Path,
        units: Units,
        read: Callable[[], Status | None],
        limits: TrialConfig,
        rate_hz: float,
    ) -> None:
        self._store, self._trusted, self._units, self._read = store, trusted, units, read
        self._limits, self._rate_hz = limits, rate_hz
        self._gate: HealthGate | None = None
        self._judged, self._version, self._told = "", "", ""
        self._ended = 0
        self._given_up = ""

    def look(self) -> None:
        """Judge the trial, and have the daemons take up the current bundle when the robot cannot move.

        Raises:
            JetvlaError: if something refuses; the next look tries again.
        """
        status, trial = self._read(), self._store.trial
        if trial is not None:
            self._judge(trial.digest, status)
        else:
            self._judged = ""
        self._take_up(status)
        if self._store.start_path.exists():
            self._start()
        if status is None:
            self._try_again()
        self._finish_interrupted()

    @property
    def progress(self) -> str:
        """How far the trial is, for people."""
        gate = self._gate
        if gate is None or not self._judged:
            return "no bundle is on trial"
        if gate.failure:
            return f"the trial of {self._version} has failed: {gate.failure}"
        restarts = f"{gate.restarts} restart{'' if gate.restarts == 1 else 's'}"
        return f"trial of {self._version}: {int(gate.seconds)} of {self._limits.seconds:g} s, {restarts}"

    def _judge(self, digest: str, status: Status | None) -> None:
        if self._gate is None or self._judged != digest:
            self._gate, self._judged = HealthGate(digest, self._limits, self._rate_hz), digest
            manifest = self._store.manifest_or_none(digest)
            self._version = digest[:12] if manifest is None else f"version {manifest.version}"
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
                if self._moves():
                    return
                stopped = self._units.stopped() and not self._store.start_path.exists()
                if not stopped:
                    changes.owe_start()
                self._stop(status)
                self._say(f"the trial has failed: {reason}; {changes.fall_back(reason, self._trusted)}")
                if not stopped:
                    self._start()
            changes.end_trial()

    def _finish_interrupted(self) -> None:
        """Killed between going back and the end of the trial, this service has left it behind."""
        if self._left_over():
            with changing(self._store) as changes:
                if self._left_over():
                    changes.end_trial()

    def _left_over(self) -> bool:
        return read_trial(self._store.trial_path) is not None and self._store.trial is None

    def _take_up(self, status: Status | None) -> None:
        """A bundle that was activated, or that an operator went back to, runs from the next start on."""
        current = self._store.current
        if status is None or current is None or status.pid == self._ended:
            return
        # A guard that was started alone has another bundle than the policy, which only connects again.
        if {status.bundle, status.policy_bundle} <= {current, ""}:
            return
        if status.state in _REFUSING:
            with changing(self._store) as changes:
                if self._moves():
                    return
                changes.owe_start()
            log.info("guard and policy take up bundle %s", current[:12])
            self._stop(status)
            self._start()
        else:
            self._say(f"bundle {current[:12]} is taken up when the robot is disarmed")

    def _try_again(self) -> None:
        """What the service manager has given up on is started with another bundle, and with one on trial."""
        current, trial = self._store.current, self._store.trial
        if current is None or not self._units.given_up():
            self._given_up = ""
        elif self._given_up == "" and trial is None:
            self._given_up = current
        elif self._given_up != current:
            log.info("guard and policy had been given up, and are started with bundle %s", current[:12])
            self._units.start()
            self._given_up = current

    def _moves(self) -> bool:
        """Now: the store's lock may have been waited for."""
        status = self._read()
        return status is not None and status.state in MOVING

    def _stop(self, status: Status | None) -> None:
        self._units.stop()
        # What it reported last is not that of the bundle that runs from now on.
        self._ended = 0 if status is None else status.pid

    def _start(self) -> None:
        self._units.start()
        self._store.start_done()

    def _say(self, text: str) -> None:
        """Once, however often it is true."""
        if text != self._told:
            self._told = text
            log.warning(text)
