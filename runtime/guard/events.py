"""What the guard tells its log and its audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jetvla.runtime.guard.arming import State

EventKind = Literal["state", "fault", "cleared", "clip", "reject", "refusal"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something to log and audit.

    Attributes:
        kind: ``state`` changed; a ``fault`` began or was ``cleared``; a request was ``clip``-ped; a chunk was
            ``reject``-ed; ``refusal`` of arming or reset.
        reason: for people.
        state: the state when it happened; of a ``state`` event, the new one.
        fault: name in :data:`jetvla.runtime.guard.faults.FAULTS`, else empty.
        raw: what was asked for, where that matters, one number per dimension.
        sent: what it was bounded to, or what is being sent instead.
    """

    t_ns: int
    kind: EventKind
    reason: str
    state: State
    fault: str = ""
    raw: tuple[float, ...] = ()
    sent: tuple[float, ...] = ()
