"""A process beside the robot's: whatever becomes of it, the robot goes on."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable

from jetvla.runtime.clock import Clock, seconds_to_ns

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
# Who lived this long has got over what ended it.
HEALTHY_S = 60.0

_STOP_TIMEOUT_S = 5.0


class Companion:
    """Starts a process again when it ends: after a second, then after twice as long each time.

    What ended it is said once, and by the process itself: until one has lived for a minute, the next ones are silent.

    Args:
        name: for people.
        start: starts the process; its argument is whether it is to be silent.
    """

    def __init__(self, name: str, start: Callable[[bool], subprocess.Popen[bytes]], clock: Clock) -> None:
        self._name, self._start, self._clock = name, start, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._wait_s, self._told = FIRST_WAIT_S, False
        self._started_ns = self._due_ns = clock.now_ns()

    def poll(self) -> None:
        """Start it if it is time to; to be called often. Never fails."""
        now_ns = self._clock.now_ns()
        if self._process is None:
            if now_ns >= self._due_ns:
                self._begin(now_ns)
        elif self._process.poll() is not None:
            self._ended(f"ended with status {self._process.returncode}", now_ns)
        elif now_ns - self._started_ns >= seconds_to_ns(HEALTHY_S):
            self._wait_s, self._told = FIRST_WAIT_S, False

    def stop(self) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _begin(self, now_ns: int) -> None:
        self._started_ns = now_ns
        try:
            self._process = self._start(self._told)
        except OSError as error:
            self._ended(f"cannot be started: {error.strerror}", now_ns)

    def _ended(self, how: str, now_ns: int) -> None:
        self._process = None
        self._due_ns = now_ns + seconds_to_ns(self._wait_s)
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        if not self._told:
            self._told = True
            log.warning("the %s process %s; the robot goes on, and it is started again", self._name, how)
