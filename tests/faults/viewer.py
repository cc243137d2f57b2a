"""Reads a trace as a viewer would: by the format's own rules, with nothing of jetvla's."""

from __future__ import annotations

import bisect
import gzip
import itertools
import json
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Slice:
    """A complete event; times in whole nanoseconds since the trace's start."""

    name: str
    process: str
    track: str
    begin_ns: int
    end_ns: int
    frame: int | None


@dataclass(frozen=True)
class Point:
    """A flow event and the slice that it is bound to."""

    phase: str
    t_ns: int
    slice: Slice


class View:
    """What a file says. An assertion fails where it says nonsense.

    Attributes:
        flows: by number, their points in the order of their times.
        counters: by name, times in ns and values.
        instants: by name, times in ns.
    """

    def __init__(self, path: Path) -> None:
        text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
        self.whole = json.loads(text, parse_float=Decimal)
        assert self.whole["displayTimeUnit"] == "ms"
        self.metadata: dict[str, Any] = self.whole["metadata"]
        self.slices: list[Slice] = []
        self.counters: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.instants: list[tuple[int, str, str]] = []
        self.pids: dict[str, int] = {}
        self._names: dict[tuple[str, int], str] = {}
        self._on: dict[tuple[int, int], list[Slice]] = defaultdict(list)
        points = []
        for event in self.whole["traceEvents"]:
            if event["ph"] in "stf":
                points.append(event)
            else:
                {"M": self._named, "X": self._slice, "C": self._counter, "i": self._instant}[event["ph"]](event)
        assert len({tid for _, tid in self._on}) == len(self._on), "a thread's number is used by one process only"
        for slices in self._on.values():
            slices.sort(key=lambda s: (s.begin_ns, s.end_ns))
        self.flows: dict[int, list[Point]] = defaultdict(list)
        for event in sorted(points, key=lambda e: e["ts"]):
            self._point(event)

    def _named(self, event: dict[str, Any]) -> None:
        kind, _, what = event["name"].partition("_")
        if what != "name":
            return
        key = kind, event["pid" if kind == "process" else "tid"]
        assert self._names.setdefault(key, event["args"]["name"]) == event["args"]["name"]
        if kind == "process":
            self.pids[event["args"]["name"]] = event["pid"]

    def _slice(self, event: dict[str, Any]) -> None:
        begin, duration = _ns(event["ts"]), _ns(event["dur"])
        assert begin >= 0 <= duration
        process, track = self._names["process", event["pid"]], self._names["thread", event["tid"]]
        frame = event.get("args", {}).get("frame")
        found = Slice(event["name"], process, track, begin, begin + duration, frame)
        self.slices.append(found)
        self._on[event["pid"], event["tid"]].append(found)

    def _counter(self, event: dict[str, Any]) -> None:
        assert ("process", event["pid"]) in self._names
        ((_, value),) = event["args"].items()
        self.counters[event["name"]].append((_ns(event["ts"]), float(value)))

    def _instant(self, event: dict[str, Any]) -> None:
        assert event["s"] == "t"
        assert ("thread", event["tid"]) in self._names
        self.instants.append((_ns(event["ts"]), event["name"], event["args"]["reason"]))

    def _point(self, event: dict[str, Any]) -> None:
        assert (event["cat"], event["name"]) == ("frame", "frame")
        assert event["ph"] != "f" or event["bp"] == "e", "an end is bound to the slice that encloses it"
        t_ns = _ns(event["ts"])
        slices = self._on[event["pid"], event["tid"]]
        around = bisect.bisect_right(slices, t_ns, key=lambda s: s.begin_ns) - 1
        assert around >= 0, f"a flow is bound to no slice: {event}"
        assert t_ns <= slices[around].end_ns, f"a flow is bound to no slice: {event}"
        self.flows[event["id"]].append(Point(event["ph"], t_ns, slices[around]))

    def overlaps(self) -> list[tuple[Slice, Slice]]:
        """Slices of one track that are there at once."""
        pairs = []
        for slices in self._on.values():
            pairs += [(a, b) for a, b in itertools.pairwise(slices) if b.begin_ns < a.end_ns]
        return pairs

    def check_flows(self) -> None:
        """Each begins at a capture, goes over step and link, and ends with a command, always with the same frame."""
        for number, points in self.flows.items():
            way = [(p.phase, p.slice.name, p.slice.process) for p in points]
            assert way == _WAY[: len(way)], f"flow {number}: {way}"
            assert {p.slice.frame for p in points} == {number}
            assert sorted(p.t_ns for p in points) == [p.t_ns for p in points]

    def ages(self) -> dict[int, int]:
        """Nanoseconds from the begin of each frame's capture to the end of the slice in which its flow ends."""
        ends = {n: points for n, points in self.flows.items() if points[-1].phase == "f"}
        return {n: points[-1].slice.end_ns - points[0].slice.begin_ns for n, points in ends.items()}

    def named(self, name: str) -> list[Slice]:
        return [s for s in self.slices if s.name == name]


_WAY = [
    ("s", "capture", "policy"),
    ("t", "step", "policy"),
    ("t", "link", "guard"),
    ("f", "publish", "guard"),
]


def _ns(microseconds: Decimal | int) -> int:
    value = Decimal(microseconds) * 1000
    assert value == int(value), f"{microseconds} µs are no whole nanoseconds"
    return int(value)
