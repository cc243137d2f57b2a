"""The measurement itself: for some seconds, what both daemons run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from jetvla.runtime.clock import NS_PER_S, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.faults import FAULTS, Reaction
from jetvla.runtime.telemetry.environment import Environment, read_environment
from jetvla.runtime.telemetry.status import STOPS, Status, read_status
from jetvla.services.profiling.budget import Budget
from jetvla.services.profiling.collector import ONCE, Collector
from jetvla.services.profiling.memory import peak_mb
from jetvla.services.profiling.power import PowerMeter
from jetvla.services.profiling.record import NOT_ARMED, PowerFigures, ProcessMemory
from jetvla.services.profiling.rings import Rings

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen.

    Attributes:
        stops: faults of the guard by name; or that it was not armed, if none tells why.
        stopped: how often the guard stopped or held the robot; at least once if it was seen unarmed.
    """

    collector: Collector
    lost: int
    seconds: float
    status: Status
    stops: dict[str, int]
    stopped: int
    memory: tuple[ProcessMemory, ...]
    power: PowerFigures
    before: Environment
    after: Environment

    @property
    def rate_hz(self) -> float:
        return self.collector.count("step") / self.seconds


def observe(
    config: Config, rings: Rings, seconds: float, budget: Budget | None, check: Callable[[], None] = lambda: None
) -> Window:
    """Follow ``rings`` for ``seconds`` from now.

    Args:
        check: raises if there is no use in going on; called often.

    Raises:
        JetvlaError: if a daemon ends, is started anew, or the guard latches.
    """
    clock, before = MonotonicClock(), read_environment()
    with PowerMeter() as power:
        # What a ring overwrote before is not lost to this measurement; what it still holds may tell of the instruction,
        # and takes its time to read.
        former = [span for spans in rings.read() for span in spans if span.stage in ONCE]
        stops, lost, began_ns = _Stops(read_status(config.status)), rings.lost, clock.now_ns()
        collector = Collector(began_ns, {} if budget is None else budget.deadlines_ns())
        collector.add(former)
        while (left_ns := began_ns + seconds_to_ns(seconds) - clock.now_ns()) > 0:
            time.sleep(min(_LOOK_EVERY_S, left_ns / NS_PER_S))
            check()
            require_unlatched(stops.look(read_status(config.status)))
            for spans in rings.read():
                collector.add(spans)
        ended_ns = clock.now_ns()
    status = stops.look(read_status(config.status))
    return Window(
        collector=collector,
        lost=rings.lost - lost,
        seconds=(ended_ns - began_ns) / NS_PER_S,
        status=status,
        stops=stops.faults(),
        stopped=stops.count(),
        memory=tuple(ProcessMemory(name, peak_mb(pid)) for name, pid in rings.pids.items()),
        power=power.figures(collector.count("age")),
        before=before,
        after=read_environment(),
    )


class _Stops:
    """What kept the guard from following the policy, from the first report to the newest one looked at."""

    def __init__(self, first: Status) -> None:
        self._first, self._armed = first.counts, True
        self.look(first)

    def look(self, status: Status) -> Status:
        self._newest = status.counts
        self._armed &= status.state == State.ARMED.value
        return status

    def faults(self) -> dict[str, int]:
        faults = {name: count for name in FAULTS if (count := self._since(name)) > 0}
        return faults if faults or self._armed else {NOT_ARMED: 1}

    def count(self) -> int:
        """A fault that is found while the robot stops already is no stop more."""
        holds = (name for name, fault in FAULTS.items() if fault.reaction is Reaction.HOLD)
        return max(self._since(STOPS) + sum(map(self._since, holds)), 0 if self._armed else 1)

    def _since(self, name: str) -> int:
        return self._newest.get(name, 0) - self._first.get(name, 0)


def require_unlatched(status: Status) -> None:
    """Raises: JetvlaError if the guard latched."""
    if status.state == State.LATCHED.value:
        raise JetvlaError(f"the guard latched, so the measurement cannot go on: {status.reason}")
