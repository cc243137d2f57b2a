"""What the kernel is asked for, and what becomes of its answer."""

from __future__ import annotations

import ctypes
import errno
import os
import resource

import pytest

from jetvla.runtime.guard.residence import LinuxHost

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Libc:
    """Answers ``mlockall`` with ``error``."""

    def __init__(self, error: int = 0) -> None:
        self.error, self.flags = error, 0

    def mlockall(self, flags: int) -> int:
        self.flags = flags
        ctypes.set_errno(self.error)
        return -1 if self.error else 0


def host(monkeypatch: pytest.MonkeyPatch, libc: Libc, user: int, limit: tuple[int, int]) -> LinuxHost:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: libc)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(resource, "getrlimit", lambda _: limit)
    return LinuxHost()


@pytest.mark.parametrize(("user", "limit"), [(0, (1000, 1000)), (7, UNLIMITED)])
def test_memory_of_now_and_later_is_locked_once_touched(
    monkeypatch: pytest.MonkeyPatch, user: int, limit: tuple[int, int]
) -> None:
    libc = Libc()
    host(monkeypatch, libc, user, limit).lock_memory()
    assert libc.flags == 0b111


def test_a_user_with_a_limit_does_not_try(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = Libc()
    with pytest.raises(PermissionError, match="RLIMIT_MEMLOCK is not unlimited"):
        host(monkeypatch, libc, 7, (1000, 1000)).lock_memory()
    assert libc.flags == 0


def test_what_the_kernel_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="Cannot allocate memory") as error:
        host(monkeypatch, Libc(errno.ENOMEM), 0, UNLIMITED).lock_memory()
    assert error.value.errno == errno.ENOMEM


def test_it_is_pinned_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, set[int]]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: asked.append((pid, cpus)))
    LinuxHost().pin(3)
    assert asked == [(0, {3})]
