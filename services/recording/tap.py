"""The socket on which the guard process offers every call of its core to a recorder. It never waits for one."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jetvla.runtime.errors import LinkError
from jetvla.runtime.link.listener import admit, listen
from jetvla.services.recording.calls import SETUP, SNAPSHOT, Call, pack
from jetvla.services.recording.guard import NotedGuard

MAX_PACKET = 1 << 20
SEND_BUFFER = 1 << 20
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


class Tap:
    """One recorder at a time; nothing that it sends is read, and nothing is done for it but sending.

    A recorder first gets what the guard was made of, then a snapshot and the calls that make up what the guard knows
    now, then every call. When it is too slow, calls are dropped and counted, and once it has caught up it gets a
    snapshot again: so a recording can be replayed from the first arming after each snapshot.

    Args:
        allowed_uids: users whose processes may record.
        guard: whose calls are offered.
        config: SHA-256 of the configuration.

    Raises:
        LinkError: the socket cannot be made.
    """

    def __init__(self, path: Path, allowed_uids: Iterable[int], guard: NotedGuard, config: str) -> None:
        self._path, self._allowed = path, frozenset(allowed_uids)
        self._guard, self._config = guard, config
        self._reader: socket.socket | None = None
        self._seq = self._lost = 0
        self._slow = False
        self._listener = listen(path)

    def poll(self) -> str:
        """Let a recorder in, or resume with one that was slow. Returns what to tell people; mostly nothing."""
        try:
            peer = admit(self._listener, self._allowed)
        except (LinkError, OSError) as error:
            return f"recorder: {error}"
        if peer is not None and self._reader is not None:
            peer.close()
            return "recorder: there is one already; another one was sent away"
        if peer is not None:
            return self._begin(peer)
        if self._reader is not None and self._slow and self._writable(self._reader):
            return self._resume()
        return ""

    def configured(self, config: str) -> None:
        """The configuration has been reloaded; what is recorded from now on carries its SHA-256."""
        self._config = config

    def heard(self, call: Call) -> None:
        """Offer ``call``, or count it as lost."""
        if self._slow:
            self._lost += 1
        else:
            self._send(call.name, call.at_ns, arguments=call.arguments, result=call.result)

    def close(self) -> None:
        """End, and take the socket away."""
        self._drop()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _begin(self, reader: socket.socket) -> str:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._reader, self._seq, self._lost, self._slow = reader, 0, 0, False
        self._guard.listener = self
        self._send(SETUP, 0, arguments=self._guard.setup, config=self._config)
        self._snapshot()
        return "recorder: reads along"

    def _resume(self) -> str:
        lost, self._lost, self._slow = self._lost, 0, False
        self._snapshot(lost)
        return f"recorder: was too slow, {lost} calls are not in its file"

    def _snapshot(self, lost: int = 0) -> None:
        guard, last = self._guard, self._guard.last_tick
        ticked_ns = None if last is None else last.at_ns
        values = guard.last_command
        self._send(SNAPSHOT, ticked_ns or 0, ticks=guard.ticks, state=guard.state, values=values, lost=lost)
        for call in guard.held.calls():
            self._send(call.name, call.at_ns, arguments=call.arguments, result=call.result, earlier=True)

    def _send(self, name: str, at_ns: int, **body: Any) -> None:
        if self._reader is None or self._slow:
            return
        try:
            self._reader.send(pack(name, self._seq, at_ns, **body), socket.MSG_NOSIGNAL)
            self._seq += 1
        except OSError as error:
            if error.errno in _GONE:
                self._drop()
            else:
                self._slow = True
                self._lost += 1

    def _drop(self) -> None:
        self._guard.listener = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _writable(self, reader: socket.socket) -> bool:
        """There is room for more than one packet: Linux says so once a quarter of the buffer is free."""
        waiting = select.poll()
        waiting.register(reader, select.POLLOUT)
        return bool(waiting.poll(0))
