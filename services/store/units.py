"""The daemons as somebody manages them: systemd on the appliance, nobody else than a person elsewhere."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.status import Status

log = logging.getLogger("jetvla.health")

GUARD_UNIT, POLICY_UNIT = "jetvla-guard.service", "jetvla-policy.service"
# A controlled stop takes its time, and a policy may first have to compile its engines: systemd knows when to give up.
_QUESTION_S = 10.0

Run = Callable[[Sequence[str], float | None], "subprocess.CompletedProcess[str]"]


class Units(Protocol):
    """Guard and policy."""

    def stop(self) -> None:
        """End the guard first, which brings the robot to rest and publishes nothing afterwards, then the policy.

        Raises:
            JetvlaError: if one of them still runs.
        """

    def start(self) -> None:
        """Start both."""

    def restarts(self) -> int:
        """How often they were restarted because they ended by themselves."""

    def given_up(self) -> bool:
        """Whether one of them ended by itself so often that nobody starts it any more. What somebody stopped is not."""

    def stopped(self) -> bool:
        """Whether somebody has stopped both."""


class Unmanaged:
    """Daemons that a person or something unknown started, and must end and start.

    Args:
        read: the newest report; None if no guard reports.
    """

    def __init__(self, read: Callable[[], Status | None]) -> None:
        self._read, self._count = read, 0
        self._pid, self._connections = 0, 1

    def stop(self) -> None:
        log.warning("no service manager runs the daemons; end them")

    def start(self) -> None:
        log.warning("no service manager runs the daemons; start them again")

    def restarts(self) -> int:
        """Another process that reports, and every further connection of a policy to it."""
        status = self._read()
        if status is None:
            return self._count
        if status.pid != self._pid:
            self._count += self._pid != 0
            self._pid, self._connections = status.pid, 1
        self._count += max(status.connections - self._connections, 0)
        self._connections = max(status.connections, 1)
        return self._count

    def given_up(self) -> bool:
        return False

    def stopped(self) -> bool:
        return False


class Systemd:
    """``systemctl``."""

    def __init__(self, run: Run | None = None) -> None:
        self._run = run or _run

    def stop(self) -> None:
        for unit in (GUARD_UNIT, POLICY_UNIT):
            self._do(None, "stop", unit)
            if self._run(("systemctl", "is-active", "--quiet", unit), _QUESTION_S).returncode == 0:
                raise JetvlaError(f"{unit} was stopped and still runs; see: systemctl status {unit}")

    def start(self) -> None:
        # What failed too often is started all the same: it has another bundle now. Nothing waits for an engine here.
        self._run(("systemctl", "reset-failed", GUARD_UNIT, POLICY_UNIT), _QUESTION_S)
        self._do(_QUESTION_S, "start", "--no-block", GUARD_UNIT, POLICY_UNIT)

    def restarts(self) -> int:
        ran = self._do(_QUESTION_S, "show", "--property=NRestarts", "--value", GUARD_UNIT, POLICY_UNIT)
        return sum(int(line) for line in ran.split())

    def given_up(self) -> bool:
        # A stop that went wrong leaves "failed" too, but no restarts before it.
        return any(state == "failed" and restarts for state, restarts in self._states())

    def stopped(self) -> bool:
        return all(state == "inactive" for state, _ in self._states())

    def _states(self) -> list[tuple[str, int]]:
        """State and number of restarts of each."""
        states = []
        for unit in (GUARD_UNIT, POLICY_UNIT):
            ran = self._do(_QUESTION_S, "show", "--property=ActiveState,NRestarts", unit)
            found = dict(line.split("=", 1) for line in ran.splitlines() if "=" in line)
            states.append((found.get("ActiveState", ""), int(found.get("NRestarts", "0"))))
        return states

    def _do(self, timeout_s: float | None, *arguments: str) -> str:
        ran = self._run(("systemctl", *arguments), timeout_s)
        if ran.returncode != 0:
            raise JetvlaError(f"systemctl {' '.join(arguments)} failed: {ran.stderr.strip()}")
        return ran.stdout


def find_units(read: Callable[[], Status | None]) -> Units:
    """Those of systemd where it runs (sd_booted(3)); else what ``read`` tells of them."""
    return Systemd() if Path("/run/systemd/system").is_dir() else Unmanaged(read)


def _run(command: Sequence[str], timeout_s: float | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JetvlaError(f"{' '.join(command)} failed: {error}") from error
