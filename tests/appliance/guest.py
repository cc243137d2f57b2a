"""What is done to the virtual machine, and what is looked at in it."""

from __future__ import annotations

import json
from typing import Any

from .machine import GUARD, POLICY
from .virtual_machine import VirtualMachine, wait

DEVICE, DISK = "/dev/video0", "/dev/vda"
CGROUPS = "/sys/fs/cgroup/system.slice"
_OPEN = """\
import os, sys
try: os.close(os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)); print("opened")
except OSError as error: print(error.strerror)
"""
_AS = 'test -z "$1" || echo $$ >"$1/cgroup.procs"; shift; exec runuser -u "$1" -- /usr/bin/python3 -c "$2" "$3"'
_WRITE = 'mkdir -p "${1%/*}" && printf %s "$2" >"$1"'
_TAKEN = """\
import json, time
from pathlib import Path
from jetvla.runtime.config import load_config
from jetvla.services.trace.rings import Rings
rings = Rings(load_config(Path("/etc/jetvla/jetvla.yaml")), from_now=True)
rings.read()
time.sleep(5)
print(json.dumps([(r.span.frame_ns, r.span.end_ns) for r in rings.read() if r.span.stage == "link"]))
"""
_FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"


def write(machine: VirtualMachine, path: str, text: str) -> None:
    machine.run("/bin/sh", "-c", _WRITE, "sh", path, text)


def threads(machine: VirtualMachine, unit: str) -> dict[int, tuple[int, int]]:
    """Scheduling policy and real-time priority of every thread, by proc_pid_stat(5)."""
    found = {}
    for line in machine.run("/bin/sh", "-c", f"cat /proc/{machine.pid(unit)}/task/*/stat").splitlines():
        fields = line.rsplit(")", 1)[1].split()
        found[int(line.split()[0])] = (int(fields[38]), int(fields[37]))
    return found


def locked_kb(machine: VirtualMachine, unit: str) -> int:
    """Memory that is never paged out."""
    status = machine.read(f"/proc/{machine.pid(unit)}/status")
    return int(status.split("VmLck:")[1].split()[0])


def owner(machine: VirtualMachine, unit: str) -> str:
    return machine.run("stat", "--format=%U", f"/proc/{machine.pid(unit)}").strip()


def opens(machine: VirtualMachine, path: str, unit: str = "", user: str = "root") -> str:
    """What comes of opening ``path`` as ``user``, in the cgroup of ``unit``."""
    cgroup = f"{CGROUPS}/{unit}" if unit else ""
    return machine.run("/bin/sh", "-c", _AS, "sh", cgroup, user, _OPEN, path).strip()


def restart_guard(machine: VirtualMachine) -> int:
    """With the drop-ins that there are now, until a policy has connected; when."""
    since_ns = machine.now_ns()
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", GUARD)
    wait(lambda: machine.said(GUARD, "policy connected", since_ns), "the policy is back")
    return since_ns


def is_up(machine: VirtualMachine) -> None:
    """Both daemons, and the policy by its own golden samples."""
    for unit in (GUARD, POLICY):
        wait(lambda unit=unit: machine.is_active(unit), f"{unit} is active")
    assert machine.said(POLICY, "golden self-test passed")


def plug_in(machine: VirtualMachine) -> None:
    """A camera of the kernel's test driver, whose stamps are those of the exposure: by itself it gives those of the
    frame's end, which lies ahead."""
    machine.run("modprobe", "vivid")
    wait(lambda: machine.succeeds("test", "-c", DEVICE), "udev makes the node")
    stamp_at(machine, "exposure")


def stamp_at(machine: VirtualMachine, what: str) -> None:
    number = {"end": 0, "exposure": 1}[what]
    machine.run("v4l2-ctl", f"--device={DEVICE}", f"--set-ctrl=timestamp_source={number}")


def chunks_rise(machine: VirtualMachine) -> int:
    """Wait for ten more chunks; how many ``jetvla status`` counts then."""
    status = ("jetvla", "status", "--json")
    before = json.loads(machine.run(*status))["chunks"]
    wait(lambda: machine.status().get("chunks", 0) >= before + 10, "chunks reach the guard")
    return int(json.loads(machine.run(*status))["chunks"])


def taken(machine: VirtualMachine) -> list[tuple[int, int]]:
    """Of every chunk of five seconds: its frame's capture time, and when the guard had it."""
    return [(frame_ns, end_ns) for frame_ns, end_ns in json.loads(machine.python("-c", _TAKEN))]


def metrics(machine: VirtualMachine) -> dict[str, float]:
    page = machine.python("-c", _FETCH, "http://127.0.0.1:9464/metrics")
    lines = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def finding(machine: VirtualMachine, what: str) -> dict[str, Any]:
    """A line of ``jetvla doctor``, which may miss other things."""
    page = json.loads(machine.run("/bin/sh", "-c", "jetvla doctor --json || test $? = 1"))
    return next(found for found in page["findings"] if found["what"] == what)
