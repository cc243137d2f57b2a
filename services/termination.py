"""Being told to stop, as ``kill``, a service manager or a closed terminal does it."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# What asks a process that decides itself when it has ended.
ASKS = (signal.SIGINT, signal.SIGTERM)
_STOPS = (signal.SIGTERM, signal.SIGHUP)
# A signal that comes just before a wait begins does not end it: its handler runs after the wait.
_LOOK_S = 1.0


class EndRequest:
    """Whether this process was asked to end: set by a signal's handler, looked at and waited for by anybody.

    It is not :class:`threading.Event`, whose ``set`` takes a lock that ``wait`` takes too. A handler runs in the main
    thread, in the middle of whatever that does: if it was in ``wait``, handler and thread would wait for each other.
    """

    def __init__(self) -> None:
        self._set = self._at_once = False
        self._closed = threading.Lock()
        self._closed.acquire()

    def set(self) -> None:
        self._set = True
        self._open()

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout_s: float = math.inf) -> bool:
        """Return soon after it is set, at the latest after ``timeout_s``; whether it is."""
        end_s = time.monotonic() + timeout_s
        while not self._set and (left_s := end_s - time.monotonic()) > 0:
            if self._closed.acquire(timeout=min(left_s, _LOOK_S)):
                self._open()
        return self._set

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The handler of a signal that asks."""
        self.set()
        if self._at_once:
            raise SystemExit(0)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """End the block by SystemExit(0) as soon as a signal asks, or did so before: for a start that takes minutes."""
        self._at_once = True
        try:
            if self._set:
                raise SystemExit(0)
            yield
        finally:
            self._at_once = False

    def _open(self) -> None:
        with suppress(RuntimeError):  # a handler that came in between has done so
            self._closed.release()


@contextmanager
def ends_cleanly() -> Iterator[None]:
    """End the block by SystemExit (128 + the signal's number) at SIGTERM and SIGHUP, so that what is half-written is
    removed as after any other failure.

    Python's own reaction is to die at once. A signal that the parent process had ignored (``nohup``) stays ignored,
    and once one has come, others are, until the block has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in _STOPS}
    try:
        for number, handler in former.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, _stop)
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def asked_to_end() -> Iterator[EndRequest]:
    """Set once SIGINT, SIGTERM or SIGHUP has come meanwhile, for what ends by itself then and keeps what it has.

    SIGHUP is a closed terminal or a lost connection; ignored by the parent process (``nohup``), it stays so.
    """
    asked = EndRequest()
    heard = ASKS if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*ASKS, signal.SIGHUP)
    former = {number: signal.signal(number, asked.ask) for number in heard}
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    for other in _STOPS:
        signal.signal(other, signal.SIG_IGN)
    # Not by print(), which refuses when it is itself what the signal interrupted.
    with suppress(OSError):
        os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    raise SystemExit(128 + number)
