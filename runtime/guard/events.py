"""What the guard gives out: commands, and records for its log and audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jetvla.runtime.clock import Clock
from jetvla.runtime.contracts import Command, Verdict
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.axes import Vector

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


@dataclass(frozen=True, slots=True, eq=False)
class TickResult:
    """One tick.

    Attributes:
        command: what to publish; None means publish nothing.
        verdict: its reason is one of

            - ``policy``: on the way to what the policy asks for;
            - ``idle``, ``waiting``, ``expired``, ``stale``: to rest, for there is no instruction, no chunk for it yet,
              its time to live is over, or the chunk is too old;
            - ``workspace``: to rest first, for the robot could otherwise leave its box;
            - ``stopping``, ``latched``: the stop profile, or at rest after it;
            - ``blocked``: the checker or a broken clock took over;
            - ``unknown``: nothing to publish before the position of every absolute dimension is known.
        events: everything since the last tick, oldest first.
        shaped: float64 [D], the shaped command, published or not; NaN where a position is not known.
    """

    state: State
    command: Command | None
    verdict: Verdict
    events: tuple[Event, ...]
    shaped: Vector


class EventLog:
    """Collects events between two ticks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: list[Event] = []

    def add(
        self,
        kind: EventKind,
        reason: str,
        state: State,
        fault: str = "",
        raw: tuple[float, ...] = (),
        sent: tuple[float, ...] = (),
    ) -> None:
        self._events.append(Event(self._clock.now_ns(), kind, reason, state, fault, raw, sent))

    def drain(self) -> tuple[Event, ...]:
        """All events so far, oldest first; they are not given again."""
        events, self._events = tuple(self._events), []
        return events
