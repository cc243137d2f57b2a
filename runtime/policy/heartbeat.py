"""Keeps the link alive while a step takes longer than the guard waits for a word (250 ms)."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from jetvla.runtime.clock import NS_PER_S, Clock
from jetvla.runtime.errors import LinkError
from jetvla.runtime.link.protocol import Health, Message

# How long the link is silent before the last health is sent again, and how long that may go on: a policy that
# hangs goes silent, and then the guard stops the robot.
PERIOD_NS = NS_PER_S // 10
LIMIT_NS = 2 * NS_PER_S


class Sender(Protocol):
    """Where the policy's messages go."""

    def send(self, message: Message) -> None:
        """Send, or raise LinkError if the guard is gone."""


class Heartbeat:
    """A sender that repeats the last HEALTH between two messages. It says nothing new: only that we live."""

    def __init__(self, sender: Sender, clock: Clock) -> None:
        self._sender, self._clock = sender, clock
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._health: Health | None = None
        self._sent_ns = self._own_ns = clock.now_ns()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def send(self, message: Message) -> None:
        """Send ``message`` now; LinkError if the guard is gone."""
        with self._lock:
            if isinstance(message, Health):
                self._health = message
            self._sender.send(message)
            self._sent_ns = self._own_ns = self._clock.now_ns()

    def repeat(self) -> None:
        """Send the last HEALTH again if the link is silent, but not for a policy that hangs."""
        with self._lock:
            now_ns = self._clock.now_ns()
            silent = now_ns - self._sent_ns >= PERIOD_NS
            if self._health is not None and silent and now_ns - self._own_ns <= LIMIT_NS:
                self._sender.send(self._health)
                self._sent_ns = now_ns

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def _beat(self) -> None:
        # Without a guard it ends; the policy's own next message then says so to those who can react.
        with suppress(LinkError):
            while not self._closing.wait(PERIOD_NS / 4 / NS_PER_S):
                self.repeat()
