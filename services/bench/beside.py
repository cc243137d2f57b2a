"""What the guard costs the policy: the same turns of its loop with and without a guard at work beside it.

The guard is its own process, at its own rate, on ROS 2, with its audit log and status file; the policy's loop runs
here, on as many threads as the policy process takes. With the guard, chunks and health go to it over the real link;
without, it is halted (SIGSTOP) and the messages go nowhere.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jetvla.engines.bench.loop import open_loop
from jetvla.engines.bench.ratio import Ratio
from jetvla.engines.bench.turns import Tally, take_turns
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import JetvlaError, LinkError
from jetvla.runtime.link.client import PolicyLink
from jetvla.runtime.link.protocol import Hello, Message
from jetvla.runtime.policy.loop import PolicyLoop
from jetvla.runtime.policy.model import open_model
from jetvla.runtime.telemetry.status import read_status
from jetvla.services.bench.site import site
from jetvla.services.supervisor import GUARD, Daemons

ACCEPTED = 60
# After it goes on, the guard is late once. Both ways have this rest before them.
_SETTLE_S = 0.05
_PATIENCE_S = 60.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Steps:
    """Median milliseconds of one way's turns."""

    ms: float
    accepted: int
    dropped: int

    @classmethod
    def of(cls, tally: Tally[float]) -> Steps:
        ms = float(np.median(tally.accepted)) * 1e3 if tally.accepted else np.nan
        return cls(ms, len(tally.accepted), tally.dropped)


@dataclass(frozen=True)
class Beside:
    """Both ways; ``ratio`` is time with the guard over time without. ``ticks`` and ``chunks`` are what the guard did,
    ``scheduling`` what the kernel granted it."""

    alone: Steps
    guarded: Steps
    ratio: Ratio
    ticks: int
    chunks: int
    scheduling: str


def beside(bundle: Path, engines: Path, accepted: int = ACCEPTED) -> Beside:
    """Measure both ways in turns.

    Raises:
        JetvlaError: if the guard does not start, or received no chunk.
    """
    with site(bundle, engines) as place:
        config = load_config(place.config)
        clock = MonotonicClock()
        model = open_model(Bundle.open(config.bundle, None), config.policy, clock)
        with place.log.open("ab") as log, Daemons(place.config, (GUARD,), log) as daemons, _linked(config) as link:
            guard = daemons.processes[GUARD].pid
            link.send(Hello(model.bundle.digest, model.key.digest().hex(), True, 0.0))
            loops = open_loop(model, _Nobody(), clock), open_loop(model, link, clock)
            for loop in loops:
                loop.turn()

            def alone() -> float:
                with _halted(guard):
                    time.sleep(_SETTLE_S)
                    return _timed(loops[0])

            def guarded() -> float:
                time.sleep(_SETTLE_S)
                return _timed(loops[1])

            without, with_it = take_turns([alone, guarded], accepted, lambda: time.process_time() + _cpu_s(guard))
        status = read_status(config.status)
    if not status.chunks:
        raise JetvlaError(f"the guard received no chunk, so that nothing was measured: {'; '.join(status.events)}")
    ratio = Ratio.of(with_it.accepted, without.accepted)
    steps = Steps.of(without), Steps.of(with_it)
    return Beside(steps[0], steps[1], ratio, status.ticks, status.chunks, status.scheduling)


class _Nobody:
    def send(self, message: Message) -> None:
        """The message goes nowhere."""


@contextmanager
def _linked(config: Config) -> Iterator[PolicyLink]:
    """A link to the guard, as soon as it listens."""
    link, give_up = PolicyLink(config.socket), time.monotonic() + _PATIENCE_S
    while not link.connected:
        try:
            link.connect()
        except LinkError:
            if time.monotonic() > give_up:
                raise
            time.sleep(_SETTLE_S)
    try:
        yield link
    finally:
        link.close()


@contextmanager
def _halted(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _timed(loop: PolicyLoop) -> float:
    began = time.perf_counter()
    loop.turn()
    return time.perf_counter() - began


def _cpu_s(pid: int) -> float:
    """CPU seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
