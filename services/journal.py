"""The daemons' log: lines for people on standard error, or entries with fields in the systemd journal.

Fields beside the message: ``JETVLA_EVENT`` (state, fault, estop and the like), ``JETVLA_STAGE_MS`` (JSON: 99th
percentile of every stage, milliseconds) and ``JETVLA_BUNDLE`` (digest).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any

EVENT, STAGES, BUNDLE = "JETVLA_EVENT", "JETVLA_STAGE_MS", "JETVLA_BUNDLE"
_FIELDS = (EVENT, STAGES, BUNDLE)
# syslog(3)'s severities.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class JournalHandler(logging.Handler):
    """Sends records to the journal; ``common`` fields go with each."""

    def __init__(self, name: str, common: Mapping[str, str]) -> None:
        super().__init__()
        from systemd import journal

        self._send = journal.send
        self._name, self._common = name, common

    def emit(self, record: logging.LogRecord) -> None:
        own = {field: record.__dict__[field] for field in _FIELDS if field in record.__dict__}
        try:
            self._send(
                self.format(record),
                PRIORITY=_PRIORITIES.get(record.levelno, 5),
                LOGGER=record.name,
                SYSLOG_IDENTIFIER=f"jetvla-{self._name}",
                **{**self._common, **own},
            )
        except OSError:  # a journal that is being restarted
            self.handleError(record)


@contextmanager
def logging_for(name: str, environment: Mapping[str, str] = os.environ) -> Iterator[dict[str, str]]:
    """Log as daemon ``name`` meanwhile. Fields put into what this yields go with every later entry of the journal.

    A thread of its own writes: a journal that hangs must not hold up a tick.
    """
    fields: dict[str, str] = {}
    handler = _handler(name, fields, environment)
    queue: SimpleQueue[Any] = SimpleQueue()
    listener = QueueListener(queue, handler)
    root, front = logging.getLogger(), QueueHandler(queue)
    root.addHandler(front)
    root.setLevel(logging.INFO)
    listener.start()
    try:
        yield fields
    finally:
        root.removeHandler(front)
        listener.stop()


def _handler(name: str, fields: Mapping[str, str], environment: Mapping[str, str]) -> logging.Handler:
    if "JOURNAL_STREAM" in environment and find_spec("systemd") is not None:
        return JournalHandler(name, fields)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))
    return handler
