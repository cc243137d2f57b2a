"""Being woken in time: ask the kernel for the best that it allows, and read back what it gave.

A ladder: ``SCHED_FIFO`` (root, or an RTPRIO limit); else a short time slice (Linux 6.12 or newer) and a
timer slack of 1 ns, which need no privilege; else nothing. All of it holds for the calling thread, and for threads that
it starts from then on.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

PRIORITY = 50
# Of the threads that serve the timed one. Below it, and above all other programs: whoever holds a lock that the timed
# thread waits for, the interpreter's among them, must not wait for a processor.
SERVANTS_PRIORITY = 40
SLICE_NS = 100_000
SLACK_NS = 1

_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}

Rung = Literal["fifo", "slice", "plain"]


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What holds now, read back from the kernel.

    Attributes:
        rung: ``fifo``; ``slice`` (short slice, small slack or both); ``plain``.
        priority: of ``SCHED_FIFO``, else 0.
        slice_ns: time slice asked for, 0 where the kernel chooses.
        slack_ns: how much later than asked a timer may fire.
        refused: what the kernel would not give, and why.
    """

    rung: Rung
    priority: int
    slice_ns: int
    slack_ns: int
    refused: str


class Kernel(Protocol):
    """What a thread can ask for itself. Setters may raise OSError; getters tell what holds."""

    def set_fifo(self, priority: int) -> None: ...

    def fifo_priority(self) -> int: ...

    def set_slice_ns(self, ns: int) -> None: ...

    def slice_ns(self) -> int: ...

    def set_slack_ns(self, ns: int) -> None: ...

    def slack_ns(self) -> int: ...


def be_timely(kernel: Kernel, priority: int = PRIORITY) -> Scheduling:
    """Climb as high as the kernel allows."""
    refused = [_ask("SCHED_FIFO", kernel.set_fifo, priority)]
    if kernel.fifo_priority() == 0:
        refused.append(_ask("short slice", kernel.set_slice_ns, SLICE_NS))
        refused.append(_ask("timer slack", kernel.set_slack_ns, SLACK_NS))
    return _read_back(kernel, "; ".join(r for r in refused if r))


def _ask(name: str, ask: Callable[[int], None], value: int) -> str:
    try:
        ask(value)
    except OSError as error:
        return f"{name}: {error.strerror}"
    return ""


def _read_back(kernel: Kernel, refused: str) -> Scheduling:
    priority, slice_ns, slack_ns = kernel.fifo_priority(), kernel.slice_ns(), kernel.slack_ns()
    rung: Rung = "plain"
    if priority:
        rung = "fifo"
    elif slice_ns == SLICE_NS or slack_ns == SLACK_NS:
        rung = "slice"
    return Scheduling(rung, priority, slice_ns, slack_ns, refused)


class _Attributes(ctypes.Structure):
    """``struct sched_attr`` of ``linux/sched/types.h``, first version."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


class LinuxKernel:
    """The calling thread, through libc."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._setattr = _SCHED_SETATTR.get(platform.machine())

    def set_fifo(self, priority: int) -> None:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))

    def fifo_priority(self) -> int:
        return os.sched_getparam(0).sched_priority if os.sched_getscheduler(0) == os.SCHED_FIFO else 0

    def set_slice_ns(self, ns: int) -> None:
        attributes = self._attributes()
        attributes.runtime = ns
        self._call(self._number(), 0, ctypes.byref(attributes), 0)

    def slice_ns(self) -> int:
        try:
            return int(self._attributes().runtime)
        except OSError:
            return 0

    def set_slack_ns(self, ns: int) -> None:
        # Whether it was obeyed shows when it is read back.
        self._libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(ns), 0, 0, 0)

    def slack_ns(self) -> int:
        return int(self._libc.prctl(_PR_GET_TIMERSLACK, 0, 0, 0, 0))

    def _attributes(self) -> _Attributes:
        attributes = _Attributes()
        # sched_getattr has the number after sched_setattr on both machines.
        self._call(self._number() + 1, 0, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)
        return attributes

    def _number(self) -> int:
        if self._setattr is None:
            raise OSError(0, f"unknown on {platform.machine()}")
        return self._setattr

    def _call(self, number: int, *arguments: object) -> None:
        if self._libc.syscall(number, *arguments) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
