"""The scheduling ladder, on kernels that allow more or less, and on this one."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from jetvla.runtime.guard import scheduling
from jetvla.runtime.guard.scheduling import LinuxKernel, Scheduling, be_timely


class FakeKernel:
    """Allows what it is told to allow."""

    def __init__(self, fifo: bool = True, slice_: bool = True, slack: bool = True, obeys: bool = True) -> None:
        self._allowed = {"fifo": fifo, "slice": slice_, "slack": slack}
        self._obeys = obeys
        self._held = {"fifo": 0, "slice": 0, "slack": 50_000}

    def _set(self, name: str, value: int) -> None:
        if not self._allowed[name]:
            raise OSError(errno.EPERM, "Operation not permitted")
        if self._obeys:
            self._held[name] = value

    def set_fifo(self, priority: int) -> None:
        self._set("fifo", priority)

    def fifo_priority(self) -> int:
        return self._held["fifo"]

    def set_slice_ns(self, ns: int) -> None:
        self._set("slice", ns)

    def slice_ns(self) -> int:
        return self._held["slice"]

    def set_slack_ns(self, ns: int) -> None:
        self._set("slack", ns)

    def slack_ns(self) -> int:
        return self._held["slack"]


NO_FIFO = "SCHED_FIFO: Operation not permitted"


@pytest.mark.parametrize(
    ("allows", "expected"),
    [
        ({}, Scheduling("fifo", 50, 0, 50_000, "")),
        ({"fifo": False}, Scheduling("slice", 0, 100_000, 1, NO_FIFO)),
        (
            {"fifo": False, "slice_": False},
            Scheduling("slice", 0, 0, 1, f"{NO_FIFO}; short slice: Operation not permitted"),
        ),
        (
            {"fifo": False, "slack": False},
            Scheduling("slice", 0, 100_000, 50_000, f"{NO_FIFO}; timer slack: Operation not permitted"),
        ),
        (
            {"fifo": False, "slice_": False, "slack": False},
            Scheduling(
                "plain",
                0,
                0,
                50_000,
                f"{NO_FIFO}; short slice: Operation not permitted; timer slack: Operation not permitted",
            ),
        ),
        ({"obeys": False}, Scheduling("plain", 0, 0, 50_000, "")),
    ],
)
def test_ladder(allows: dict[str, bool], expected: Scheduling) -> None:
    assert be_timely(FakeKernel(**allows)) == expected


def in_thread(work: object) -> list[object]:
    """What ``work`` returns in a thread of its own, whose scheduling dies with it."""
    result: list[object] = []
    assert callable(work)

    def ordinary() -> None:
        # The tests themselves may run under a real-time policy, which has no slack.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        result.append(work())

    thread = threading.Thread(target=ordinary)
    thread.start()
    thread.join()
    return result


def test_this_kernel_says_what_it_gave() -> None:
    (got,) = in_thread(lambda: be_timely(LinuxKernel()))
    assert isinstance(got, Scheduling)
    assert (got.rung == "fifo") == (got.priority == scheduling.PRIORITY)
    if got.rung == "slice":
        assert got.slack_ns == 1 or got.slice_ns == scheduling.SLICE_NS


def test_timer_slack_is_read_back() -> None:
    def work() -> tuple[int, int]:
        kernel = LinuxKernel()
        kernel.set_slack_ns(12_345)
        return kernel.slack_ns(), kernel.fifo_priority()

    assert in_thread(work) == [(12_345, 0)]


def test_a_slice_is_read_back_or_left_to_the_kernel() -> None:
    def work() -> int:
        kernel = LinuxKernel()
        try:
            kernel.set_slice_ns(scheduling.SLICE_NS)
        except OSError:
            return 0
        return kernel.slice_ns()

    # Linux before 6.12 takes the call and ignores the slice.
    assert in_thread(work)[0] in (0, scheduling.SLICE_NS)


def test_a_machine_without_the_call_has_no_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    kernel = LinuxKernel()
    assert kernel.slice_ns() == 0
    with pytest.raises(OSError, match="unknown on riscv64"):
        kernel.set_slice_ns(1)


def test_refused_calls_carry_the_kernel_s_reason() -> None:
    def work() -> str:
        kernel = LinuxKernel()
        attributes_of_nothing = kernel._number() + 1
        with pytest.raises(OSError, match="Invalid argument") as error:
            kernel._call(attributes_of_nothing, -1, None, 0, 0)
        return error.value.strerror or ""

    assert in_thread(work) == ["Invalid argument"]
