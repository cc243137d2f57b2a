"""What the guard's state and faults did meanwhile, out of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jetvla.runtime.audit.chain import parse
from jetvla.runtime.audit.folder import files_of

_KINDS = ("state", "fault", "cleared", "refusal")


@dataclass(frozen=True, slots=True)
class Incident:
    """A line of the audit log.

    Attributes:
        kind: as in :class:`jetvla.runtime.guard.events.Event`.
        name: the new state, or the kind and the fault.
        reason: for people.
    """

    t_ns: int
    kind: str
    name: str
    reason: str


def incidents(folder: Path, begin_ns: int, end_ns: int) -> list[Incident]:
    """Changes of state, faults and refusals in ``folder`` from ``begin_ns`` to ``end_ns``, oldest first.

    Raises:
        OSError: if the log cannot be read.
    """
    found: list[Incident] = []
    for path in reversed(files_of(folder)):
        newest = _newest(path)
        found = newest.incidents + found
        if newest.restarted or (found and found[0].t_ns < begin_ns):
            break
    return [incident for incident in found if begin_ns <= incident.t_ns <= end_ns]


class _Newest(NamedTuple):
    """Incidents since the machine was last started, and whether it was within the file."""

    incidents: list[Incident]
    restarted: bool


def _newest(path: Path) -> _Newest:
    found: list[Incident] = []
    restarted = False
    for incident in _lines(path):
        # They are written in the order of their times, which only a restart of the machine begins anew.
        if found and incident.t_ns < found[-1].t_ns:
            found, restarted = [], True
        found.append(incident)
    return _Newest(found, restarted)


def _lines(path: Path) -> Iterator[Incident]:
    with path.open("rb") as file:
        for line in file:
            link = parse(line.rstrip(b"\n"))
            if link is None or link.kind not in _KINDS or type(t_ns := link.entry.get("t_ns")) is not int:
                continue
            kind, entry = link.kind, link.entry
            name = str(entry.get("state")) if kind == "state" else f"{kind} {entry.get('fault')}".rstrip()
            yield Incident(t_ns, kind, name, str(entry.get("reason", "")))
