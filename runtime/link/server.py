"""The guard's end of the link. Never blocks."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.clock import Clock, MonotonicClock, seconds_to_ns
from jetvla.runtime.errors import LinkError
from jetvla.runtime.link.listener import admit, listen
from jetvla.runtime.link.protocol import MAX_PACKET, Hello, Message, decode

PACKETS_PER_POLL = 64
# A policy says HELLO at once; what does not would keep the real one waiting.
HELLO_S = 1.0


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The peer is gone, or was sent away; ``reason`` says why."""

    reason: str


class GuardLink:
    """Listens on ``path``; one peer at a time, the next only after it is gone.

    Args:
        allowed_uids: users whose processes may connect, as the kernel reports them (``SO_PEERCRED``).
        clock: measures how long a peer goes without HELLO.

    Raises:
        LinkError: the socket cannot be made; another guard may own it.
    """

    def __init__(self, path: Path, allowed_uids: Iterable[int], clock: Clock | None = None) -> None:
        self._path, self._clock = path, clock or MonotonicClock()
        self._allowed = frozenset(allowed_uids)
        self._peer: socket.socket | None = None
        self._greeted, self._since_ns = False, 0
        self._listener = listen(path)

    @property
    def connected(self) -> bool:
        """A peer is there."""
        return self._peer is not None

    def fileno(self) -> int:
        """What becomes readable when there is something to poll."""
        return (self._peer or self._listener).fileno()

    def poll(self) -> list[Message | LinkLost]:
        """What has come since the last call, in order, at most 64 messages.

        Any error of the peer, and its end of file, is one ``LinkLost``, after which it is disconnected.
        """
        events: list[Message | LinkLost] = []
        try:
            if self._peer is None:
                self._peer = self._accept()
            if self._peer is not None:
                events.extend(self._receive(self._peer))
                if self._hung_up(self._peer):
                    raise LinkError("the policy closed the link")
                if not self._greeted and self._clock.now_ns() - self._since_ns > seconds_to_ns(HELLO_S):
                    raise LinkError(f"a process connected and did not say HELLO within {HELLO_S:g} s")
        except (LinkError, OSError) as error:
            self._disconnect()
            events.append(LinkLost(str(error)))
        return events

    def _accept(self) -> socket.socket | None:
        peer = admit(self._listener, self._allowed)
        if peer is not None:
            self._greeted, self._since_ns = False, self._clock.now_ns()
        return peer

    def _receive(self, peer: socket.socket) -> Iterator[Message]:
        for _ in range(PACKETS_PER_POLL):
            try:
                packet = peer.recv(MAX_PACKET + 1)
            except BlockingIOError:
                return
            if not packet:
                raise LinkError("the policy closed the link")
            message, _ = decode(packet)
            if not self._greeted and not isinstance(message, Hello):
                raise LinkError(f"the policy sent {type(message).__name__} before HELLO")
            self._greeted = True
            yield message

    def _hung_up(self, peer: socket.socket) -> bool:
        """The peer is dead, even where more than one poll's packets wait before its end of file."""
        waiting = select.poll()
        waiting.register(peer, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in waiting.poll(0))

    def _disconnect(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def close(self) -> None:
        """Disconnect, and take the socket away."""
        self._disconnect()
        self._listener.close()
        self._path.unlink(missing_ok=True)
