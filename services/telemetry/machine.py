"""Temperatures, power and throttling of the machine, as metrics and screen take them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

# Above the pace of any scrape or screen: a source that measures by itself need not do it more often.
INTERVAL_S = 1.0
_SOURCES = "jetvla.runtime.telemetry.power"


class Rail(Protocol):
    """Power through one rail, milliwatts."""

    @property
    def name(self) -> str: ...
    @property
    def mw(self) -> float: ...


class Temperature(Protocol):
    """Of one zone."""

    @property
    def zone(self) -> str: ...
    @property
    def celsius(self) -> float: ...


class Counter(Protocol):
    """Events since the machine was started."""

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...


class Throttling(Protocol):
    """What lowers a clock now, and counters of what is over before anybody can look."""

    @property
    def active(self) -> Sequence[str]: ...
    @property
    def counters(self) -> Sequence[Counter]: ...


class Reading(Protocol):
    """One look; what the machine does not tell is empty or None, and ``note`` says why power is missing."""

    @property
    def rails(self) -> Sequence[Rail]: ...
    @property
    def temperatures(self) -> Sequence[Temperature]: ...
    @property
    def throttling(self) -> Throttling | None: ...
    @property
    def note(self) -> str: ...


class Machine(Protocol):
    """Where readings come from."""

    def read(self) -> Reading:
        """The present reading; never an old one, and never fails."""

    def close(self) -> None:
        """End what was started."""


def open_machine() -> Machine | None:
    """What this machine tells; None if this jetvla has no sources of power readings."""
    if find_spec(_SOURCES) is None:
        return None
    machine: Machine = import_module(_SOURCES).open_power_source(interval_s=INTERVAL_S)
    return machine
