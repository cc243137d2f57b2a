"""From the daemons' rings into a file."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jetvla.runtime.audit.log import POLL_S
from jetvla.runtime.clock import NS_PER_S, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.status import read_status
from jetvla.services.supervisor import GUARD
from jetvla.services.trace.events import TraceEvents
from jetvla.services.trace.file import TraceFile
from jetvla.services.trace.incidents import incidents
from jetvla.services.trace.rings import Process, Ran, Rings

# A ring holds minutes; this is how much a daemon that is started anew can take with it unread.
TURN_S = 0.2
# A guard that runs writes at every tick.
PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Traced:
    """What is in a file.

    Attributes:
        seconds: from its start to its end.
        spans: slices, by process.
        lost: by process, spans that were overwritten before they were read.
        captured: frames.
        commanded: frames that a command obeyed.
        audit: what the audit log gave.
    """

    seconds: float
    spans: dict[Process, int]
    lost: dict[Process, int]
    captured: int
    commanded: int
    audit: str


def trace(config: Config, file: Path, until: Callable[[], bool]) -> Traced:
    """Write what the daemons run from now on until ``until()``, as they run it.

    Raises:
        JetvlaError: no daemon runs, a ring is of another version, or ``file`` cannot be written.
    """
    clock = MonotonicClock()
    rings = Rings(config, from_now=True)
    rings.read()
    trace_ = _Trace(config, rings, clock.now_ns())
    with TraceFile(file) as out:
        over = False
        while not over:
            over = until()
            trace_.take(rings.read(), out)
            if not trace_.events.spans and (over or clock.now_ns() - trace_.start_ns > seconds_to_ns(PATIENCE_S)):
                raise JetvlaError(
                    f"no daemon writes into {config.run_dir}; start them with 'jetvla run', "
                    "or see with --last what the last ones did"
                )
            if not over:
                time.sleep(TURN_S)
        # The thread that writes the audit log may be asleep.
        time.sleep(2 * POLL_S)
        return trace_.end(out, clock.now_ns(), "from its start on")


def trace_last(config: Config, file: Path) -> Traced:
    """Write what the rings still hold, also of daemons that have ended.

    Raises:
        JetvlaError: there is nothing, a ring is of another version, or ``file`` cannot be written.
    """
    rings = Rings(config, from_now=False)
    ran = rings.read()
    if not ran:
        raise JetvlaError(f"no daemon has left anything in {config.run_dir}; start them with 'jetvla run'")
    trace_ = _Trace(config, rings, min(r.span.begin_ns for r in ran))
    with TraceFile(file) as out:
        trace_.take(ran, out)
        return trace_.end(out, ran[-1].span.end_ns, "the last that the rings hold")


class _Trace:
    """One trace while it is written."""

    def __init__(self, config: Config, rings: Rings, start_ns: int) -> None:
        self._config, self._rings = config, rings
        self.start_ns = start_ns
        wall_ns = time.time_ns() - (time.monotonic_ns() - start_ns)
        self._wall = datetime.fromtimestamp(wall_ns / NS_PER_S, timezone.utc).isoformat(timespec="microseconds")
        self.events = TraceEvents(start_ns)

    def take(self, ran: list[Ran], out: TraceFile) -> None:
        for one in ran:
            out.write(self.events.of(one))

    def end(self, out: TraceFile, end_ns: int, kind: str) -> Traced:
        """Write what is known only now."""
        flows = self.events.flows
        traced = Traced(
            seconds=(end_ns - self.start_ns) / NS_PER_S,
            spans={process: self.events.spans[process] for process in self._rings.lost},
            lost=dict(self._rings.lost),
            captured=flows.captured,
            commanded=flows.commanded,
            audit=self._incidents(out, end_ns),
        )
        out.describe(self._metadata(traced, kind))
        return traced

    def _incidents(self, out: TraceFile, end_ns: int) -> str:
        """Write the guard's; how many, or why there are none."""
        folder = self._config.telemetry.audit
        guards = sorted((p for p in self._rings.lost if p.name == GUARD), key=lambda p: p.started_ns)
        if folder is None or not guards:
            return "no audit log is kept" if folder is None else "no guard has run"
        try:
            found = incidents(folder, self.start_ns, end_ns)
        except OSError as error:
            return f"the audit log in {folder} cannot be read: {error.strerror}"
        for incident in found:
            guard = next((g for g in reversed(guards) if g.started_ns <= incident.t_ns), guards[0])
            out.write(self.events.incident(guard, incident))
        return f"{len(found)} changes of state, faults and refusals"

    def _metadata(self, traced: Traced, kind: str) -> dict[str, Any]:
        return {
            "versions": {"jetvla": importlib.metadata.version("jetvla"), "python": platform.python_version()},
            "bundle": self._bundle(),
            "config": self._config.digest,
            "trace": kind,
            "start_monotonic_ns": self.start_ns,
            "start_wall": self._wall,
            "seconds": traced.seconds,
            "frames": {"captured": traced.captured, "commanded": traced.commanded},
            "lost_spans": sum(traced.lost.values()),
            "daemons": [
                {
                    "name": process.name,
                    "pid": process.pid,
                    "started_monotonic_ns": process.started_ns,
                    "spans": traced.spans[process],
                    "lost_spans": lost,
                }
                for process, lost in traced.lost.items()
            ],
            "audit": traced.audit,
        }

    def _bundle(self) -> str | None:
        """Digest, as the guard of this trace says; None if the last report is of another one."""
        try:
            status = read_status(self._config.status)
        except (JetvlaError, OSError):
            return None
        return status.bundle if status.pid in {p.pid for p in self._rings.lost if p.name == GUARD} else None
