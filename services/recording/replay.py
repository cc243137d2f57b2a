"""Runs a guard over a recording, and compares what it does with what was done."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.guard.core import Guard
from jetvla.services.recording.calls import SNAPSHOT, TICK, Call, Held
from jetvla.services.recording.guard import CallClock
from jetvla.services.recording.reading import Snapshot, Ticked

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Difference:
    """A tick that was not the same: when, and what was recorded and what is replayed, for people."""

    at_ns: int
    recorded: str
    replayed: str


@dataclass(slots=True)
class Comparison:
    """Tick by tick.

    Attributes:
        began_ns: first moment of the recording; None if it is empty.
        exact_ns: first tick that could be replayed; None if none could.
        ticks, commands: that were compared.
        skipped: ticks that could not be replayed: the robot was armed before the recording or before its gap ended.
        lost: calls that are not in the recording.
        differing: ticks with another command or state.
        largest: difference of one number of a command; infinite where one guard published and the other did not.
        first: of the differing ticks.
        recorded, replayed: states, each with when it was entered.
    """

    began_ns: int | None = None
    exact_ns: int | None = None
    ticks: int = 0
    commands: int = 0
    skipped: int = 0
    lost: int = 0
    differing: int = 0
    largest: float = 0.0
    first: Difference | None = None
    recorded: list[tuple[int, str]] = field(default_factory=list)
    replayed: list[tuple[int, str]] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Something was compared, and nothing differed."""
        return self.ticks > 0 and self.differing == 0


def replay(setup: dict[str, Any], calls: Iterable[Call]) -> Comparison:
    """Run a guard made of ``setup`` over ``calls``.

    From its very start a guard is replayed wholly; from the middle of a run on it is from the next arming on, which
    forgets what came before it but for what the snapshot holds.
    """
    replayer = _Replayer(setup)
    for call in calls:
        replayer.take(call)
    return replayer.comparison


class _Replayer:
    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup = setup
        self._clock = CallClock()
        self._guard: Guard | None = None
        self._held = Held()
        self._command: NDArray[np.float64] | None = None
        self._ticked_ns: int | None = None
        self._reason = ""
        self.comparison = Comparison()

    def take(self, call: Call) -> None:
        if call.name == SNAPSHOT:
            self._snapshot(call.at_ns, call.result)
            return
        if self.comparison.began_ns is None and not call.earlier:
            self.comparison.began_ns = call.at_ns
        if self._guard is None and call.name == "arm" and not call.result:
            self._begin()
        if call.name == TICK:
            self._tick(call.at_ns, call.result)
        elif self._guard is not None:
            self._apply(self._guard, call)
        self._held.note(call)

    def _snapshot(self, at_ns: int, snapshot: Snapshot) -> None:
        self._held, self._guard = Held(), None
        self._command = snapshot.command
        self._ticked_ns = at_ns if snapshot.ticks else None
        self.comparison.lost += snapshot.lost
        if not snapshot.ticks:
            self._begin()

    def _begin(self) -> None:
        """A new guard that knows what the recorded one knows."""
        self._guard = Guard(**self._setup, clock=self._clock)
        if self._command is not None:
            self._guard.resume(self._command)
        for call in self._held.calls():
            self._apply(self._guard, call)
        if self._ticked_ns is not None:
            self._clock.t_ns = self._ticked_ns
            self._guard.tick()

    def _apply(self, guard: Guard, call: Call) -> None:
        self._clock.t_ns = call.at_ns
        getattr(guard, call.name)(**call.arguments)

    def _tick(self, at_ns: int, ticked: Ticked) -> None:
        if ticked.command is not None:
            self._command = ticked.command
        self._ticked_ns = at_ns
        if self._guard is None:
            self.comparison.skipped += 1
            return
        self._clock.t_ns = at_ns
        result = self._guard.tick()
        command = None if result.command is None else result.command.values
        self._reason = next((e.reason for e in reversed(result.events) if e.kind == "state"), self._reason)
        self._compare(at_ns, ticked, Ticked(result.state.value, command))

    def _compare(self, at_ns: int, recorded: Ticked, replayed: Ticked) -> None:
        found = self.comparison
        found.exact_ns = at_ns if found.exact_ns is None else found.exact_ns
        found.ticks += 1
        found.commands += recorded.command is not None
        _enter(found.recorded, at_ns, recorded.state)
        _enter(found.replayed, at_ns, replayed.state)
        distance = _distance(recorded.command, replayed.command)
        found.largest = max(found.largest, distance)
        if distance > TOLERANCE or recorded.state != replayed.state:
            found.differing += 1
            why = f" because: {self._reason}" if recorded.state != replayed.state else ""
            found.first = found.first or Difference(at_ns, _describe(recorded), _describe(replayed) + why)


def _enter(states: list[tuple[int, str]], at_ns: int, state: str) -> None:
    if not states or states[-1][1] != state:
        states.append((at_ns, state))


def _distance(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> float:
    if a is None or b is None:
        return 0.0 if a is b else math.inf
    return float(np.abs(a - b).max())


def _describe(ticked: Ticked) -> str:
    if ticked.command is None:
        return f"{ticked.state}, no command"
    return f"{ticked.state}, [{' '.join(f'{v:.6g}' for v in ticked.command)}]"
