"""From spans to events in the Chrome trace event format.

Source: "Trace Event Format", the Chromium project's document of that name; times in it are microseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from jetvla.services.trace.flows import Flows
from jetvla.services.trace.incidents import Incident
from jetvla.services.trace.rings import Process, Ran
from jetvla.services.trace.tracks import Tracks

_COUNTERS = {"wake": "wake lateness", "age": "frame age"}
_INCIDENTS = "state and faults"
_NS_PER_US = 1e3
_NS_PER_MS = 1e6


class TraceEvents:
    """Turns what ran into events, one call after the other.

    Args:
        start_ns: what the trace's times count from, on the monotonic clock. Counted from the machine's start, the
            nanoseconds of a robot that was not restarted for months would not fit a JSON number.

    Attributes:
        flows: the frames.
        spans: how many slices there are, by process.
    """

    def __init__(self, start_ns: int) -> None:
        self._start_ns = start_ns
        self._tracks = Tracks()
        self.flows = Flows()
        self.spans: Counter[Process] = Counter()

    def of(self, ran: Ran) -> Iterator[dict[str, Any]]:
        """The slice of a span, and what belongs to it; nothing for one that began before the trace."""
        process, span = ran.process, ran.span
        if span.begin_ns < self._start_ns:
            return
        self.spans[process] += 1
        track = self._tracks.free(process, span.stage, span.begin_ns, span.end_ns)
        yield from self._tracks.announcements()
        frame = span.frame_ns - self._start_ns
        slice_ = {"ph": "X", "cat": process.name, "name": span.stage, **track._asdict()}
        slice_ |= {"ts": self._ts(span.begin_ns), "dur": span.duration_ns / _NS_PER_US}
        yield slice_ | ({"args": {"frame": frame}} if span.frame_ns else {})
        yield from self.flows.of(span, slice_, frame)
        if counter := _COUNTERS.get(span.stage):
            value = {"ms": span.duration_ns / _NS_PER_MS}
            yield {"ph": "C", "name": counter, "pid": track.pid, "ts": self._ts(span.end_ns), "args": value}

    def incident(self, process: Process, incident: Incident) -> Iterator[dict[str, Any]]:
        """A moment at which the guard said something."""
        track = self._tracks.named(process, _INCIDENTS)
        yield from self._tracks.announcements()
        event = {"ph": "i", "s": "t", "cat": incident.kind, "name": incident.name, **track._asdict()}
        yield event | {"ts": self._ts(incident.t_ns), "args": {"reason": incident.reason}}

    def _ts(self, t_ns: int) -> float:
        return (t_ns - self._start_ns) / _NS_PER_US
