"""The policy's end of the link."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from jetvla.runtime.errors import LinkError
from jetvla.runtime.link.protocol import Message, encode

SEND_TIMEOUT_S = 0.1

_TIMEVAL = struct.Struct("@ll")


def limit_waiting(link: socket.socket, seconds: float) -> None:
    """Let no connect or send wait longer for a peer that does not read.

    This is the kernel's time-out: Python's own waits for three quarters of the buffer to be free before it sends.
    """
    whole, rest = divmod(round(seconds * 1e6), 1_000_000)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(whole, rest))


class PolicyLink:
    """Sends messages to the guard that listens on ``path``.

    Args:
        timeout_s: a guard that does not read for so long is an error; no call blocks longer.
    """

    def __init__(self, path: Path, timeout_s: float = SEND_TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._seq = 0

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def connect(self) -> None:
        """Connect, after closing an older connection.

        Raises:
            LinkError: nobody listens, or this user may not connect.
        """
        self.close()
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        limit_waiting(link, self._timeout_s)
        try:
            link.connect(str(self._path))
        except OSError as error:
            link.close()
            raise LinkError(f"{self._path}: cannot connect to the guard: {error}") from None
        self._socket = link

    def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            LinkError: not connected, the guard is gone, or it does not read. The link is closed then, for
                the guard cannot know what it has missed.
        """
        if self._socket is None:
            raise LinkError(f"{self._path}: not connected to the guard")
        packet = encode(message, self._seq)
        try:
            self._socket.send(packet)
        except OSError as error:
            self.close()
            why = "it does not read" if isinstance(error, BlockingIOError) else str(error)
            raise LinkError(f"{self._path}: cannot send to the guard: {why}") from None
        self._seq += 1

    def close(self) -> None:
        """Disconnect; the guard sees it at once."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
