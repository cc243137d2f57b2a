"""Being told to stop, as ``kill``, a service manager or a closed terminal does it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGHUP)


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
def asked_to_end() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come meanwhile, for what ends by itself then and keeps what it has."""
    asked: list[int] = []
    former = {n: signal.signal(n, lambda number, _: asked.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    for other in _STOPS:
        signal.signal(other, signal.SIG_IGN)
    print(f"stopped by {signal.Signals(number).name}", file=sys.stderr)
    raise SystemExit(128 + number)
