"""What a daemon tells the service manager: that it is ready, that it goes on, what it does, that it ends."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from jetvla.runtime.clock import NS_PER_S, Clock, MonotonicClock

# systemd-python, which is not on PyPI for aarch64.
INSTALL = "apt install python3-systemd"
_NS_PER_US = 1000
# Pings in the time that the watchdog allows, and the longest time between two words about the state.
_PINGS = 4
_STATUS_NS = NS_PER_S // 2

log = logging.getLogger("jetvla.service")


class ServiceManager(Protocol):
    """Takes sd_notify(3) messages."""

    def notify(self, message: str) -> None:
        """Send ``message``: lines of ``NAME=value``."""


class Unmanaged:
    """Nobody listens."""

    def notify(self, message: str) -> None:
        pass


class Systemd:
    """The manager that started this process, through ``systemd.daemon``."""

    def notify(self, message: str) -> None:
        from systemd import daemon

        daemon.notify(message)


def find_manager(environment: Mapping[str, str] = os.environ) -> ServiceManager:
    """The manager that waits for messages of this process, if there is one and it can be told."""
    if "NOTIFY_SOCKET" not in environment:
        return Unmanaged()
    if find_spec("systemd") is None:
        log.warning("systemd waits to be told that this service is ready, and cannot be; %s", INSTALL)
        return Unmanaged()
    return Systemd()


def watchdog_ns(environment: Mapping[str, str] = os.environ) -> int | None:
    """How long this process may be silent; None if nobody watches it."""
    microseconds, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    watched = microseconds.isdigit() and pid in ("", str(os.getpid()))
    return int(microseconds) * _NS_PER_US if watched else None


@dataclass(frozen=True, slots=True)
class Periods:
    """Shortest times between two messages of a kind, nanoseconds."""

    ping_ns: int
    status_ns: int = _STATUS_NS

    @classmethod
    def of(cls, watchdog: int | None) -> Periods:
        return cls(_STATUS_NS if watchdog is None else watchdog // _PINGS)


class Notifier:
    """Turns what a daemon does into messages, no more of them than the manager needs.

    Nothing here pings by itself: silence is how a daemon that makes no progress is found.
    """

    def __init__(self, manager: ServiceManager, clock: Clock | None = None, watchdog: int | None = None) -> None:
        self._manager, self._clock = manager, clock or MonotonicClock()
        self._periods = Periods.of(watchdog)
        self._ping_ns = self._status_ns = 0
        self._status = ""

    @classmethod
    def here(cls) -> Notifier:
        """That of this process."""
        return cls(find_manager(), watchdog=watchdog_ns())

    def ready(self, status: str) -> None:
        """All is open. From now on the watchdog runs."""
        self._status = status
        self._manager.notify(f"READY=1\nSTATUS={_line(status)}\nWATCHDOG=1")

    def progress(self) -> None:
        """Something real was done."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._ping_ns:
            self._ping_ns = now_ns + self._periods.ping_ns
            self._manager.notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """What is being done now, for people."""
        now_ns = self._clock.now_ns()
        if text != self._status and now_ns >= self._status_ns:
            self._status, self._status_ns = text, now_ns + self._periods.status_ns
            self._manager.notify(f"STATUS={_line(text)}")

    def lasting(self, text: str, seconds: float) -> None:
        """What a slow start is at now; the manager waits for ``seconds`` more before it gives up."""
        self._manager.notify(f"STATUS={_line(text)}\nEXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")

    def reloading(self) -> None:
        self._manager.notify("RELOADING=1")

    def reloaded(self) -> None:
        """Whether or not anything was changed."""
        self._manager.notify("READY=1")

    def stopping(self) -> None:
        self._manager.notify("STOPPING=1\nSTATUS=stopping")


def _line(text: str) -> str:
    return " ".join(text.split())
