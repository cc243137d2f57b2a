"""Which bundles are in use: whoever runs one holds a shared lock on its folder, for as long as its process lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from jetvla.runtime.errors import StoreError
from jetvla.services.store.lock import lock_within

_PATIENCE_S = 5.0


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
    try:
        lock_within(descriptor, fcntl.LOCK_SH, _PATIENCE_S)
    except BlockingIOError as error:
        raise StoreError(f"{folder} is locked by another process; see who: lslocks") from error


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
