"""Processes that compute beside this one, and end with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """``count`` new processes until the block ends; if that is by an error or a signal, in the middle of their work.

    They are spawned, because a fork would copy whatever threads and locks the caller has.
    """
    before = multiprocessing.active_children()
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as processes:
        try:
            yield processes
        except BaseException:
            for process in multiprocessing.active_children():
                if process not in before:
                    process.terminate()
            raise
