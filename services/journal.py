"""The daemons' log: lines for people on standard error, or entries with fields in the systemd journal.

Fields beside the message: ``JETVLA_EVENT`` (state, fault, estop and the like), ``JETVLA_STAGE_MS`` (JSON: 99th
percentile of every stage, milliseconds) and ``JETVLA_BUNDLE`` (digest).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

EVENT, STAGES, BUNDLE = "JETVLA_EVENT", "JETVLA_STAGE_MS", "JETVLA_BUNDLE"
_FIELDS = (EVENT, STAGES, BUNDLE)
# syslog(3)'s severities.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}

# For what is still to be written at the end; nobody is commanded meanwhile.
LAST_WORDS_S = 2.0


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
        except Exception:  # noqa: BLE001 - a journal that is being restarted, or an entry that it cannot take
            self.handleError(record)


class DaemonLog:
    """Logs as daemon ``name`` meanwhile.

    A thread of its own writes: a journal or a terminal that takes nothing more must not hold up a tick, nor the end.

    Attributes:
        fields: go with every later entry of the journal.
        status: with which the process ends.
    """

    def __init__(self, name: str, environment: Mapping[str, str] = os.environ) -> None:
        self.fields: dict[str, str] = {}
        self.status = 0
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._handler = _handler(name, self.fields, environment)
        self._front = QueueHandler(self._queue)
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)

    def __enter__(self) -> DaemonLog:
        root = logging.getLogger()
        root.addHandler(self._front)
        root.setLevel(logging.INFO)
        self._writer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what is left. If nobody takes it, the process ends here: Python itself would wait for ever to write."""
        logging.getLogger().removeHandler(self._front)
        self._queue.put(None)
        self._writer.join(LAST_WORDS_S)
        if self._writer.is_alive():
            os._exit(self.status if kind is None else 1)

    def _write(self) -> None:
        while (record := self._queue.get()) is not None:
            self._handler.handle(record)


def _handler(name: str, fields: Mapping[str, str], environment: Mapping[str, str]) -> logging.Handler:
    if "JOURNAL_STREAM" in environment and find_spec("systemd") is not None:
        return JournalHandler(name, fields)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{name}: %(message)s"))
    return handler
