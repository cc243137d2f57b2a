"""Locks of files and folders (flock(2)), waited for as long as somebody is willing to."""

from __future__ import annotations

import fcntl
import time

_LOOK_EVERY_S = 0.02


def lock_within(descriptor: int, operation: int, patience_s: float) -> None:
    """Take the lock, ``fcntl.LOCK_SH`` or ``LOCK_EX``; BlockingIOError if another process keeps it for longer."""
    give_up = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise
        time.sleep(_LOOK_EVERY_S)
