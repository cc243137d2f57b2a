"""A local socket of the guard, of packets, that only certain users may connect to. Nothing here blocks."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Set
from pathlib import Path

from jetvla.runtime.errors import LinkError

MODE = 0o660

_CREDENTIALS = struct.Struct("3i")


def admit(listener: socket.socket, allowed_uids: Set[int]) -> socket.socket | None:
    """The next peer that waits, non-blocking; None if none does.

    Raises:
        LinkError: its user, as the kernel reports it (``SO_PEERCRED``), is not allowed; it has been sent away.
    """
    try:
        peer, _ = listener.accept()
    except BlockingIOError:
        return None
    peer.setblocking(False)
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    if uid not in allowed_uids:
        peer.close()
        raise LinkError(f"process {pid} of user {uid} is not allowed to connect to {listener.getsockname()}")
    return peer


def listen(path: Path) -> socket.socket:
    """A listener at ``path``, non-blocking, mode 0660; LinkError if it cannot be made, or another guard has it."""
    _remove_dead(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.setblocking(False)
        # On Linux the mode of the unbound socket is the mode of its file.
        os.fchmod(listener.fileno(), MODE)
        listener.bind(str(path))
        path.chmod(MODE)
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise LinkError(f"{path}: cannot listen: {error}") from None
    return listener


def _remove_dead(path: Path) -> None:
    """Remove what a killed guard left; LinkError if a living one answers, or if it is no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise LinkError(f"{path}: is there already and is not a socket; remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise LinkError(f"{path}: another guard is listening; stop it first")
    path.unlink()
