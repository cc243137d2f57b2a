"""The arming state machine. It boots disarmed and never arms by itself."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where the guard is.

    - ``BOOT``: no policy has said hello yet.
    - ``DISARMED``: shapes and checks in shadow, publishes nothing.
    - ``ARMED``: the policy moves the robot.
    - ``STOPPING``: comes to rest by the stop profile, then disarms.
    - ``LATCHED``: comes to rest, then publishes nothing until a reset.
    """

    BOOT = "BOOT"
    DISARMED = "DISARMED"
    ARMED = "ARMED"
    STOPPING = "STOPPING"
    LATCHED = "LATCHED"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.BOOT: frozenset({State.DISARMED, State.LATCHED}),
    State.DISARMED: frozenset({State.ARMED, State.LATCHED}),
    State.ARMED: frozenset({State.STOPPING, State.LATCHED}),
    State.STOPPING: frozenset({State.DISARMED, State.LATCHED}),
    State.LATCHED: frozenset({State.DISARMED}),
}


class Arming:
    """The state, and the only way to change it."""

    def __init__(self) -> None:
        self._state = State.BOOT

    @property
    def state(self) -> State:
        return self._state

    def go(self, state: State) -> None:
        """Enter ``state``; ValueError if no arrow leads there."""
        if state not in TRANSITIONS[self._state]:
            raise ValueError(f"no way from {self._state.value} to {state.value}")
        self._state = state
