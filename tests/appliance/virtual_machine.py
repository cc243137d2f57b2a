"""A virtual machine with a kernel of its own, whose disk stays when its power is cut."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .machine import LOGIN, PATIENCE_S, Found, Machine, until

# Emulated, a machine is ten to thirty times slower, and every question takes time from what is looked at.
SLOW_S = 900.0
_POLL_S, _ASK_EVERY_S = 0.05, 1.0
_PORT = "org.qemu.guest_agent.0"
_RUNNING = ("initializing", "starting", "running", "degraded")


def wait(condition: Callable[[], Found], what: str) -> Found:
    """As :func:`until`, patient enough for an emulated machine."""
    return until(condition, what, SLOW_S, _ASK_EVERY_S)


class VirtualMachine(Machine):
    """An emulated PC that boots a disk. Nothing of it reaches a network; commands go through qemu's guest agent.

    Args:
        disk: its only one, with the kernel's file system.
        kernel: of the folder ``boot`` of that file system, with its initrd beside it.
        folder: for the console's log and the agent's socket.
    """

    def __init__(self, disk: Path, kernel: Path, folder: Path) -> None:
        super().__init__(disk, folder / "console.log")
        self._kernel, self._socket = kernel, folder / "agent"
        self._emulator: subprocess.Popen[bytes] | None = None
        self._agent: Agent | None = None

    def boot(self) -> None:
        with self._log.open("ab") as log:
            self._emulator = subprocess.Popen(list(self._command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.leader = self._emulator.pid
        wait(self._connect, "the guest agent answers")
        wait(lambda: self.run("systemctl", "is-system-running", check=False).strip() in _RUNNING, "systemd answers")

    def power_cut(self) -> None:
        """What the kernel has not written is lost, as with a real disk."""
        if self._emulator is None:
            return
        self._emulator.kill()
        self._emulator.wait()
        if self._agent is not None:
            self._agent.close()
        self._emulator = self._agent = None
        self.leader = 0

    def run(self, *command: str, check: bool = True) -> str:
        code, out, err = self._execute(*command)
        assert not check or code == 0, f"{command} ended with {code}: {out}{err}"
        return out if check else out + err

    def succeeds(self, *command: str) -> bool:
        return self._execute(*command)[0] == 0

    def now_ns(self) -> int:
        """Its own monotonic clock, which started with it; to a hundredth of a second."""
        return round(float(self.run("cat", "/proc/uptime").split()[0]) * 1e9)

    def python(self, script: str, *arguments: str, user: str = "root") -> str:
        """Output of a script that sees the package; so the machine's own one, not this tree's."""
        login = () if user == "root" else ("runuser", "-u", user, "--")
        return self.run(*login, "/opt/jetvla/venv/bin/python", script, *arguments)

    def read(self, path: str) -> str:
        """Contents of a file; empty if it is not there."""
        return self.run("/bin/sh", "-c", 'test ! -e "$1" || cat "$1"', "sh", path)

    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.read("/run/jetvla/status.json"))
        except ValueError:
            return {}
        return found

    def _execute(self, *command: str) -> tuple[int, str, str]:
        assert self._agent is not None, "the machine is off"
        return self._agent.execute("/usr/bin/env", "-i", *LOGIN, *command)

    def _connect(self) -> bool:
        assert self._emulator is not None
        assert self._emulator.poll() is None, f"the machine ended: {self._log.read_text(errors='replace')[-2000:]}"
        try:
            self._agent = self._agent or Agent(self._socket)
            return self._agent.answers()
        except OSError:
            return False

    def _command(self) -> Iterator[str]:
        yield from ("qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none", "-nic", "none")
        yield from ("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3G")
        yield from ("-kernel", str(self._kernel))
        yield from ("-initrd", str(self._kernel).replace("vmlinuz", "initrd.img"))
        yield from ("-append", "root=/dev/vda rw console=ttyS0 panic=-1")
        yield from ("-drive", f"file={self.root},if=virtio,format=raw", "-device", "virtio-rng-pci")
        yield from ("-chardev", f"file,id=console,path={self._log},append=on", "-serial", "chardev:console")
        yield from ("-chardev", f"socket,id=agent,path={self._socket},server=on,wait=off")
        yield from ("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=agent,name={_PORT}")


class Agent:
    """qemu's guest agent, asked one thing after the other.

    Raises:
        OSError: if nobody listens on ``path`` yet.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")
        self._sync = 0

    def answers(self) -> bool:
        """Whether it answers within a second, and to this question and none before."""
        self._sync += 1
        self._socket.settimeout(1.0)
        try:
            self._send("guest-sync", id=self._sync)
            while self._receive() != self._sync:
                pass
        except TimeoutError:
            # A file that has timed out once cannot be read any more.
            self._lines.close()
            self._lines = self._socket.makefile("rb")
            return False
        self._socket.settimeout(PATIENCE_S)
        return True

    def execute(self, path: str, *arguments: str) -> tuple[int, str, str]:
        """Exit status, output and error output of a program."""
        self._send("guest-exec", path=path, arg=list(arguments), **{"capture-output": True})
        pid = self._receive()["pid"]
        give_up = time.monotonic() + SLOW_S
        while True:
            self._send("guest-exec-status", pid=pid)
            if (state := self._receive())["exited"]:
                # A program that a signal ended has no exit status.
                code = state.get("exitcode", -int(state.get("signal", 0)))
                return code, _text(state, "out-data"), _text(state, "err-data")
            assert time.monotonic() < give_up, f"{arguments} does not end"
            time.sleep(_POLL_S)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _send(self, command: str, **arguments: Any) -> None:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def _receive(self) -> Any:
        answer = json.loads(self._lines.readline())
        assert "error" not in answer, answer
        return answer["return"]


def _text(state: dict[str, Any], name: str) -> str:
    return base64.b64decode(state.get(name, "")).decode(errors="replace")
