"""Daemons as ``/proc`` shows them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.clock import NS_PER_S

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat, proc(5), counted from the third, the first one behind the name of the program.
_STATE, _START_TICKS, _RESIDENT_PAGES = 0, 19, 21
_ENDED = ("Z", "X")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that lives. ``resident_bytes`` is its memory that is in RAM."""

    pid: int
    resident_bytes: int


def find_process(pid: int, by_ns: int) -> Process | None:
    """The process ``pid`` that was there at ``by_ns`` on the monotonic clock; None if it has ended.

    A number is given again, so one that started later is another process. Where ``/proc`` hides other users'
    processes, all of them seem to have ended.
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = line.rpartition(")")[2].split()
    started_ns = int(fields[_START_TICKS]) * NS_PER_S // _TICKS_PER_S
    # Linux counts from the start of the machine, time asleep included.
    asleep_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    if fields[_STATE] in _ENDED or started_ns > by_ns + asleep_ns:
        return None
    return Process(pid, int(fields[_RESIDENT_PAGES]) * _PAGE_BYTES)
