"""The rings of both daemons, read together."""

from __future__ import annotations

from dataclasses import dataclass

from jetvla.runtime.config import Config
from jetvla.runtime.telemetry.span_reader import Span, SpanReader
from jetvla.services.supervisor import GUARD, POLICY

NAMES = (POLICY, GUARD)


@dataclass(frozen=True, slots=True)
class Process:
    """One run of a daemon.

    Attributes:
        name: ``policy`` or ``guard``.
        started_ns: on the monotonic clock.
    """

    name: str
    pid: int
    started_ns: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A span, and who ran it."""

    process: Process
    span: Span


class Rings:
    """Follows the rings of ``config``, each as soon as there is one.

    Args:
        from_now: leave out what they hold already.

    Attributes:
        lost: by process, how many spans were overwritten before they were read.
    """

    def __init__(self, config: Config, from_now: bool) -> None:
        self._paths = {name: config.spans(name) for name in NAMES}
        # A ring that appears later belongs to a daemon that starts meanwhile: all of it is new.
        self._readers = {name: SpanReader(path, from_now and path.exists()) for name, path in self._paths.items()}
        self.lost: dict[Process, int] = {}

    def read(self) -> list[Ran]:
        """Everything since the last call, in the order of its ends.

        Raises:
            JetvlaError: if a ring is of another version, or may not be read.
        """
        ran: list[Ran] = []
        for name, path in self._paths.items():
            if path.exists():
                batch = self._readers[name].read()
                process = Process(name, batch.pid, batch.started_ns)
                self.lost[process] = self.lost.get(process, 0) + batch.lost
                ran += (Ran(process, span) for span in batch.spans)
        return sorted(ran, key=lambda r: r.span.end_ns)
