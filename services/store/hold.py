"""Which bundles are in use: whoever runs one holds a shared lock on its folder, for as long as its process lives."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from jetvla.runtime.errors import StoreError

_PATIENCE_S = 5.0
_LOOK_EVERY_S = 0.02


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep ``folder`` from being removed meanwhile. One that is not there is left to the caller to find missing.

    Raises:
        StoreError: if a process keeps it locked for itself, which none of ours does for longer than a moment.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            _share(descriptor, folder)
        yield


def _share(descriptor: int, folder: Path) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= give_up:
                raise StoreError(f"{folder} is locked by another process; see who: lslocks") from error
        time.sleep(_LOOK_EVERY_S)


def in_use(folder: Path) -> bool:
    """Whether a living process holds ``folder``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
