"""Where slices go: a process for each daemon, a track for each stage, and no two slices of a track at once."""

from __future__ import annotations

from typing import Any, NamedTuple

from jetvla.runtime.telemetry.stages import STAGE_NAMES
from jetvla.services.trace.rings import NAMES, Process

# Linux gives no larger process number (PID_MAX_LIMIT).
_LARGEST_PID = 1 << 22
_TRACKS = 1 << 8


class Track(NamedTuple):
    """As which process and thread a trace viewer knows it."""

    pid: int
    tid: int


class Tracks:
    """Gives out tracks, and says their names before their first use.

    Stages that run in one thread never overlap; capture, link and age of a frame may go on while those of the next one
    begin. Then the next one goes onto a further track, ``age (2)``, of the same process.
    """

    def __init__(self) -> None:
        self._pids: dict[tuple[str, int], int] = {}
        self._tids: dict[tuple[int, str], int] = {}
        self._ends: dict[tuple[int, str], list[int]] = {}
        self._said: list[dict[str, Any]] = []

    def free(self, process: Process, stage: str, begin_ns: int, end_ns: int) -> Track:
        """The first track of ``stage`` that is free from ``begin_ns`` on; it is taken until ``end_ns``."""
        pid = self.pid(process)
        ends = self._ends.setdefault((pid, stage), [])
        lane = next((n for n, end in enumerate(ends) if end <= begin_ns), len(ends))
        ends[lane:] = [end_ns, *ends[lane + 1 :]]
        return self.named(process, stage if lane == 0 else f"{stage} ({lane + 1})", _order(stage) + lane)

    def named(self, process: Process, name: str, order: int = 0) -> Track:
        """The track ``name``, at place ``order`` in its process."""
        pid = self.pid(process)
        if (pid, name) not in self._tids:
            # A viewer may take a thread for the same one wherever its number returns, and one that bears the number of
            # its process for the main thread.
            self._tids[pid, name] = tid = pid * _TRACKS + sum(p == pid for p, _ in self._tids)
            self._say(pid, tid, "thread", name, order)
        return Track(pid, self._tids[pid, name])

    def pid(self, process: Process) -> int:
        """The process number; another one if both daemons have the same, as in containers of their own."""
        key = process.name, process.pid
        if key not in self._pids:
            pid = process.pid
            while pid in self._pids.values():
                pid += _LARGEST_PID
            self._pids[key] = pid
            self._say(pid, pid, "process", process.name, NAMES.index(process.name))
        return self._pids[key]

    def _say(self, pid: int, tid: int, kind: str, name: str, order: int) -> None:
        for what, arguments in (("name", {"name": name}), ("sort_index", {"sort_index": order})):
            self._said.append({"ph": "M", "name": f"{kind}_{what}", "pid": pid, "tid": tid, "args": arguments})

    def announcements(self) -> list[dict[str, Any]]:
        """Names of processes and tracks that are new since the last call, as events."""
        said, self._said = self._said, []
        return said


def _order(stage: str) -> int:
    place = STAGE_NAMES.index(stage) if stage in STAGE_NAMES else len(STAGE_NAMES)
    return (1 + place) * _TRACKS
