"""A container that boots a real systemd, and can be cut from its power."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")
# Only for what would otherwise hang; nothing here measures whether the machine is fast.
PATIENCE_S = 180.0
POLL_S = 0.02
NOTES = Path("var/lib/robot.jsonl")
GUARD, POLICY, COMPILE = "jetvla-guard.service", "jetvla-policy.service", "jetvla-compile.service"
ROBOT = "robot.service"
FIFO = 50
# A minute of commands.
NEWEST_BYTES = 1 << 20
# A robot's computer has no other work to do; this one may have, and then watchdogs of 2 s would find that.
LOGIN = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
TURN = ("chrt", "--fifo", "10")


def until(condition: Callable[[], Found], what: str, patience_s: float = PATIENCE_S, poll_s: float = POLL_S) -> Found:
    """What ``condition()`` gives as soon as it is true; fails naming ``what``."""
    give_up = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < give_up, f"waited {patience_s:g} s in vain: {what}"
        time.sleep(poll_s)
    return found


class Machine:
    """A root file system and, while it is on, what runs in it. Nothing of it reaches a network.

    Attributes:
        leader: its first process, as the host numbers it.
    """

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self._log = root, log
        self._container: subprocess.Popen[bytes] | None = None
        self.leader = 0

    def boot(self) -> None:
        """Switch it on, and wait until its systemd answers. All of it goes before other work of this machine."""
        command = [
            "systemd-nspawn",
            "--quiet",
            "--register=no",
            "--keep-unit",
            "--private-network",
            "--link-journal=no",
        ]
        with self._log.open("ab") as log:
            self._container = subprocess.Popen(
                [*command, "-D", str(self.root), "--boot"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.leader = until(self._find_leader, "the container has a first process")
        answers = ("initializing", "starting", "running", "degraded")
        until(lambda: self.run("systemctl", "is-system-running", check=False).strip() in answers, "systemd answers")

    def power_cut(self) -> None:
        """Everything in it ends at once: killing the first process of a container kills all of them."""
        if self._container is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self.leader, signal.SIGKILL)
        self._container.wait()
        self._container = None

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output of ``command`` in it; its error output too where it may fail."""
        ran = subprocess.run(
            self.entering(*command),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if check else subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        assert not check or ran.returncode == 0, f"{command} ended with {ran.returncode}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    def succeeds(self, *command: str) -> bool:
        return subprocess.run(self.entering(*command), capture_output=True, check=False).returncode == 0

    def entering(self, *command: str) -> list[str]:
        """What runs ``command`` in it."""
        return [*TURN, "nsenter", "-t", str(self.leader), "-a", "env", "-i", *LOGIN, *command]

    def show(self, unit: str, *names: str) -> list[str]:
        """Properties of a unit, in the order of ``names``."""
        lines = self.run("systemctl", "show", unit, "--property", ",".join(names)).splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return [values[name] for name in names]

    def is_active(self, unit: str) -> bool:
        return self.show(unit, "ActiveState") == ["active"]

    def pid(self, unit: str) -> int:
        """Main process of a unit, as the container numbers it."""
        return int(self.show(unit, "MainPID")[0])

    def kill(self, unit: str, number: signal.Signals) -> int:
        """Send a signal to the main process; when, on CLOCK_MONOTONIC."""
        now_ns = time.monotonic_ns()
        self.run("systemctl", "kill", "--kill-who=main", f"--signal={number.name}", unit)
        return now_ns

    def since(self, unit: str, name: str, then_ns: int) -> float:
        """Seconds from ``then_ns`` to what a property such as ActiveEnterTimestampMonotonic says."""
        return (int(self.show(unit, name)[0]) * 1000 - then_ns) / 1e9

    def journal(self, unit: str, since_ns: int = 0) -> list[dict[str, Any]]:
        """Entries of ``unit`` that are younger, oldest first."""
        lines = self.run("journalctl", "--boot", "--unit", unit, "--output", "json", "--no-pager").splitlines()
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if int(entry["__MONOTONIC_TIMESTAMP"]) * 1000 >= since_ns]

    def said(self, unit: str, words: str, since_ns: int = 0) -> bool:
        return any(words in str(entry.get("MESSAGE")) for entry in self.journal(unit, since_ns))

    def status(self) -> dict[str, Any]:
        """What ``jetvla status`` reports; empty while the guard does not."""
        try:
            found: dict[str, Any] = json.loads((self.root_of_processes / "run/jetvla/status.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    @property
    def root_of_processes(self) -> Path:
        """Its file system with what is mounted in it."""
        return Path(f"/proc/{self.leader}/root")

    def commands(self, since_ns: int = 0) -> list[tuple[int, list[float]]]:
        """What reached the robot, and when."""
        path = self.root / NOTES
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - NEWEST_BYTES, 0))
            lines = file.read().decode().splitlines()
        notes = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [(note["t_ns"], note["values"]) for note in notes if note["t_ns"] >= since_ns]

    def favour(self, unit: str) -> None:
        """Give the first thread of ``unit`` the priority that its LimitRTPRIO would: a container ignores the limit."""
        command = f"import os; os.sched_setscheduler({self.pid(unit)}, os.SCHED_FIFO, os.sched_param({FIFO}))"
        self.run("/usr/bin/python3", "-c", command)

    def _find_leader(self) -> int:
        assert self._container is not None
        assert self._container.poll() is None, f"the container ended: {self._log.read_text()}"
        children = Path(f"/proc/{self._container.pid}/task/{self._container.pid}/children").read_text().split()
        # The children before it are helpers, which end.
        return next((int(child) for child in children if _is_first(child)), 0)


def _is_first(pid: str) -> bool:
    """Whether a process is number 1 of a namespace of its own, and runs systemd already."""
    try:
        numbers = next(
            line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid")
        )
        return numbers.split()[1:] == [pid, "1"] and "systemd" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
