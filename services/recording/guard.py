"""A guard that notes every call, so that another guard can be made to do the same again, number for number."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol

from jetvla.runtime.clock import Clock
from jetvla.runtime.guard.core import Guard
from jetvla.services.recording.calls import ACTS, PREFIX, TICK, Call, Held


class Listener(Protocol):
    """Somebody who wants to know of every call, in order."""

    def heard(self, call: Call) -> None:
        """A call has been made. Must not wait."""


class CallClock:
    """A clock that shows one time during a whole call: what a call does then depends on what was noted alone."""

    def __init__(self, t_ns: int = 0) -> None:
        self.t_ns = t_ns

    def now_ns(self) -> int:
        return self.t_ns

    def sleep_until_ns(self, deadline_ns: int) -> None:
        self.t_ns = max(self.t_ns, deadline_ns)


class NotedGuard(Guard):
    """Takes the arguments of :class:`Guard`, and decides as it does. Every ``on_…`` and act and tick is noted.

    Attributes:
        setup: the arguments that it was made with, but for the clock.
        held: what makes up what it knows now.
        last_tick: the newest one; None before the first.
        last_command: values [D] of the last command; None before the first.
        ticks: how many there were.
        listener: is told of each call.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(Guard).bind(*args, **kwargs)
        bound.apply_defaults()
        self._real: Clock = bound.arguments.pop("clock")
        self.setup: dict[str, Any] = dict(bound.arguments)
        self.held = Held()
        self.last_tick: Call | None = None
        self.last_command: Any = None
        self.ticks = 0
        self.listener: Listener | None = None
        self._call_clock = CallClock(self._real.now_ns())
        self._inside = False
        super().__init__(**bound.arguments, clock=self._call_clock)

    def refusals(self) -> tuple[str, ...]:
        if not self._inside:
            self._call_clock.t_ns = self._real.now_ns()
        return super().refusals()

    def noted(self, name: str, arguments: dict[str, Any], call: Callable[[], Any]) -> Any:
        """Make ``call`` at one moment and note it; one that the guard makes of itself is part of the first."""
        if self._inside:
            return call()
        self._inside, self._call_clock.t_ns = True, self._real.now_ns()
        try:
            result = call()
        finally:
            self._inside = False
        self._note(Call(name, self._call_clock.t_ns, arguments, result))
        return result

    def _note(self, call: Call) -> None:
        self.held.note(call)
        if call.name == TICK:
            self.last_tick, self.ticks = call, self.ticks + 1
            if call.result.command is not None:
                self.last_command = call.result.command.values
        if self.listener is not None:
            self.listener.heard(call)


def noted_methods() -> dict[str, inspect.Signature]:
    """Every method of the guard whose calls are noted: whatever the guard can be told is among them."""
    names = [n for n in dir(Guard) if n.startswith(PREFIX)] + [*ACTS, TICK]
    return {name: inspect.signature(getattr(Guard, name)) for name in names}


def _noting(name: str, signature: inspect.Signature) -> Callable[..., Any]:
    method = getattr(Guard, name)
    if len(signature.parameters) == 1:
        # The tick is one of these, and binding no arguments takes its time too.
        return functools.wraps(method)(lambda self: self.noted(name, {}, functools.partial(method, self)))

    @functools.wraps(method)
    def call(self: NotedGuard, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = {n: v for n, v in bound.arguments.items() if n != "self"}
        return self.noted(name, arguments, functools.partial(method, self, *args, **kwargs))

    return call


for _name, _signature in noted_methods().items():
    setattr(NotedGuard, _name, _noting(_name, _signature))
