"""The rings of spans of both daemons of one configuration."""

from __future__ import annotations

import os

from jetvla.runtime.config import Config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.span_reader import Span, SpanBatch, SpanReader

PROCESSES = ("policy", "guard")


class Rings:
    """Follows both rings.

    Attributes:
        lost: spans that were overwritten before they were read.
        pids: by process, once it was read.
        started_ns: when each opened its ring.
    """

    def __init__(self, config: Config) -> None:
        self._readers = {name: SpanReader(config.spans(name)) for name in PROCESSES}
        self.lost = 0
        self.pids: dict[str, int] = {}
        self.started_ns: dict[str, int] = {}

    def read(self) -> tuple[tuple[Span, ...], ...]:
        """New spans of each process, in the order of :data:`PROCESSES`.

        Raises:
            JetvlaError: if there is no ring, or a daemon has ended or was started anew since the last call.
        """
        return tuple(self._spans(name, reader.read()) for name, reader in self._readers.items())

    def _spans(self, name: str, batch: SpanBatch) -> tuple[Span, ...]:
        known = self.started_ns.setdefault(name, batch.started_ns)
        if known != batch.started_ns:
            raise JetvlaError(f"the {name} daemon was started anew meanwhile; measure again")
        if not _runs(batch.pid):
            raise JetvlaError(f"the {name} daemon does not run any more; start the daemons with 'jetvla run'")
        self.pids[name] = batch.pid
        self.lost += batch.lost
        return batch.spans


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
