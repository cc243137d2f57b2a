"""One look at a running robot, for people. It only reads, and the daemons may come and go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jetvla.runtime.clock import NS_PER_S, Clock, MonotonicClock
from jetvla.runtime.config import Config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.histogram import Percentiles
from jetvla.runtime.telemetry.power import PowerSource, Reading
from jetvla.runtime.telemetry.status import Status, read_status
from jetvla.services.telemetry.processes import Process
from jetvla.services.telemetry.window import SpanWindow, stage_percentiles


@dataclass(frozen=True, slots=True)
class Daemon:
    """One daemon; ``process`` is None if it does not run, ``problem`` says why its spans cannot be read."""

    name: str
    process: Process | None
    running_s: float
    problem: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known at one moment. Rates are per second; these and the stages are of the last seconds.

    Attributes:
        status: the guard's last report; None if it cannot be read, for ``problem``.
        report_age_s: age of that report; below zero if it is of another start of the machine.
        up: the report is not stale.
        frame_age_s: since the capture of the newest frame that the policy took up; None if there was none.
        command_age_s: since the newest command; None if there was none.
        reading: what the machine tells of itself; None if nothing.
    """

    status: Status | None
    problem: str
    report_age_s: float
    up: bool
    ticks: float
    chunks: float
    commands: float
    frame_age_s: float | None
    command_age_s: float | None
    stages: dict[str, Percentiles]
    daemons: tuple[Daemon, ...]
    reading: Reading | None


class Watcher:
    """Looks at the robot that runs with ``config``."""

    def __init__(self, config: Config, machine: PowerSource | None, clock: Clock | None = None) -> None:
        self._config, self._machine, self._clock = config, machine, clock or MonotonicClock()
        self._guard = SpanWindow("guard", config.spans("guard"))
        self._policy = SpanWindow("policy", config.spans("policy"))

    def look(self) -> Snapshot:
        """What is known now."""
        now_ns = self._clock.now_ns()
        windows = (self._guard, self._policy)
        for window in windows:
            window.move(now_ns)
        try:
            status, problem = read_status(self._config.status), ""
        except JetvlaError as error:
            status, problem = None, str(error)
        return Snapshot(
            status=status,
            problem=problem,
            report_age_s=0.0 if status is None else status.age_s(now_ns),
            up=status is not None and status.fresh(now_ns),
            ticks=self._guard.per_second("guard", now_ns),
            chunks=self._guard.per_second("link", now_ns),
            commands=self._guard.per_second("publish", now_ns),
            frame_age_s=_since((span.frame_ns for span in self._policy.spans), now_ns),
            command_age_s=_since((s.end_ns for s in self._guard.spans if s.stage == "publish"), now_ns),
            stages=stage_percentiles(windows),
            daemons=tuple(_daemon(window, now_ns) for window in windows),
            reading=None if self._machine is None else self._machine.read(),
        )

    def close(self) -> None:
        """Let go of the rings and of the machine."""
        self._guard.close()
        self._policy.close()
        if self._machine is not None:
            self._machine.close()


def _since(times_ns: Iterable[int], now_ns: int) -> float | None:
    newest_ns = max(times_ns, default=None)
    return None if newest_ns is None else (now_ns - newest_ns) / NS_PER_S


def _daemon(window: SpanWindow, now_ns: int) -> Daemon:
    running_s = 0.0 if window.started_ns is None else (now_ns - window.started_ns) / NS_PER_S
    return Daemon(window.name, window.process(), running_s, window.problem)
