from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from jetvla.runtime.guard.residence import LinuxHost, Residence, settle


class Fake:
    """Grants what is not in ``refuses``."""

    def __init__(self, *refuses: str) -> None:
        self.refuses, self.locked, self.cpu = refuses, False, -1

    def lock_memory(self) -> None:
        self._ask("memory")
        self.locked = True

    def pin(self, cpu: int) -> None:
        self._ask("cpu")
        self.cpu = cpu

    def _ask(self, what: str) -> None:
        if what in self.refuses:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize(("listed", "cpu"), [("", None), ("3\n", 3), ("2,4-6\n", 6), ("1-2,7\n", 7)])
def test_it_takes_the_last_cpu_that_was_set_apart(tmp_path: Path, listed: str, cpu: int | None) -> None:
    isolated = tmp_path / "isolated"
    isolated.write_text(listed)
    host = Fake()
    assert settle(host, isolated) == Residence(True, cpu, "")
    assert host.locked
    assert host.cpu == (-1 if cpu is None else cpu)


def test_a_kernel_that_lists_none_leaves_it_where_it_is(tmp_path: Path) -> None:
    assert settle(Fake(), tmp_path / "nothing") == Residence(True, None, "")


def test_what_is_refused_is_said(tmp_path: Path) -> None:
    isolated = tmp_path / "isolated"
    isolated.write_text("5")
    expected = "locked memory: Operation not permitted; CPU 5: Operation not permitted"
    assert settle(Fake("memory", "cpu"), isolated) == Residence(False, None, expected)
    assert settle(Fake("memory"), isolated) == Residence(False, 5, "locked memory: Operation not permitted")


_LOCKS = """
import re
from pathlib import Path
from jetvla.runtime.guard.residence import LinuxHost, settle
LinuxHost().pin(min(__import__("os").sched_getaffinity(0)))
found = settle(LinuxHost(), Path("/nonexistent"))
kilobytes = int(re.search(r"VmLck:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
assert found.locked == (kilobytes > 0), (found, kilobytes)
print(found.locked, found.refused)
"""


def test_the_kernel_locks_it_or_says_why_not() -> None:
    done = subprocess.run([sys.executable, "-c", _LOCKS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True") or "locked memory" in done.stdout


def test_under_a_limit_nothing_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later allocation would fail, and end the guard."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    with pytest.raises(OSError, match="RLIMIT_MEMLOCK is not unlimited"):
        LinuxHost().lock_memory()
