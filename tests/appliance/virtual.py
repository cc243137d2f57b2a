"""The package on a kernel of its own, emulated: ``make appliance-vm``.

A real V4L2 driver (``vivid``) is the camera, the units' limits are the kernel's, and the disk has a journal. No speed
that is seen here means anything.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetvla.runtime.guard.scheduling import PRIORITY, SERVANTS_PRIORITY

from . import root
from .conftest import CACHE, HERE, give_bundle, signed
from .guest import (
    CGROUPS,
    DEVICE,
    DISK,
    chunks_rise,
    finding,
    is_up,
    locked_kb,
    metrics,
    opens,
    owner,
    plug_in,
    restart_guard,
    stamp_at,
    taken,
    threads,
    write,
)
from .machine import COMPILE, GUARD, POLICY
from .rows import Row
from .virtual_machine import VirtualMachine, wait

BUNDLE = "/var/lib/jetvla/bundles/current"
CLOCKS, METRICS, HEALTH = "jetvla-clocks.service", "jetvla-metrics.service", "jetvla-health.service"
# The limits of time, and of what a policy with random weights asks for, are for another machine and another policy.
CONFIG = f"""\
bundle: {BUNDLE}
cameras: {{front: {{kind: v4l2, device: {DEVICE}, size: [320, 180], fps: 10}}}}
instruction: {{text: pick up the red block, ttl_s: null}}
policy: {{threads: 1}}
guard:
  rate_hz: 20
  limits:
    excess_count: 1000000000
    excess_window: 1000000000
    late_chunks: 1000000000
    frame_age_s: 2.0
    health_age_s: 10.0
    link_silence_s: 10.0
    action_age_rate_s: 2.0
    period_ratio: 40.0
  outputs: [{{kind: log, path: /var/log/jetvla/commands.jsonl}}]
trial: {{seconds: 20, missed: 1000000000, clipped: 1, restarts: 1000}}
telemetry: {{audit: /var/log/jetvla}}
"""
PATIENT = "[Service]\nWatchdogSec=60\nTimeoutStartSec=600\n"
# One webcam; by itself the driver makes a dozen nodes.
VIVID = "options vivid node_types=0x1 num_inputs=1 input_types=0x0\n"
PROBE = "/opt/camera.py"
# vivid shows bars at 75 %: white, yellow, cyan, green, magenta, red, blue, black. Its grey is the luma of Rec. 709. YUV
# rounds a few levels away.
LEVEL, TOLERANCE = 191, 6
BARS = np.array([(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1), (0, 0, 0)])
LUMA = (0.2126, 0.7152, 0.0722)

Probe = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def machine(
    package: Path, keys: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VirtualMachine]:
    """Installed and configured, never booted, with a signed bundle in it and no camera."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 not installed: apt install qemu-system-x86")
    place = root.copy(root.virtual(CACHE), CACHE / "machine-vm")
    root.install(place, package)
    (place / "etc/jetvla/jetvla.yaml").write_text(CONFIG)
    (place / "etc/modprobe.d/vivid.conf").write_text(VIVID)
    shutil.copy(keys / "robot.pub", place / "etc/jetvla/trusted.d")
    give_bundle(place, signed(tiny_bundle, place / "root/tiny", keys))
    for unit in (GUARD, POLICY):
        drop_in = place / f"etc/systemd/system/{unit}.d/90-patient.conf"
        drop_in.parent.mkdir(parents=True, exist_ok=True)
        drop_in.write_text(PATIENT)
    shutil.copy(HERE / "camera.py", place / PROBE.lstrip("/"))
    (place / "var/log/journal").mkdir(exist_ok=True)
    root.disk(place, CACHE / "disk.img", "4G")
    (kernel,) = (place / "boot").glob("vmlinuz-*")
    machine = VirtualMachine(CACHE / "disk.img", kernel, tmp_path_factory.mktemp("vm"))
    yield machine
    machine.power_cut()
    subprocess.run(["rm", "-rf", str(place), str(CACHE / "disk.img")], check=True)


@pytest.fixture
def probe(machine: VirtualMachine) -> Iterator[Probe]:
    """Runs a task of camera.py as the policy's account, which must not have the camera meanwhile."""
    machine.run("systemctl", "stop", POLICY)
    yield lambda task: json.loads(machine.python(PROBE, DEVICE, task, user="jetvla-policy").splitlines()[-1])
    machine.run("systemctl", "start", POLICY)


def test_first_boot(machine: VirtualMachine, row: Row) -> None:
    """first boot, no camera yet"""
    machine.boot()
    allowed = int(wait(lambda: machine.read(f"{CGROUPS}/{COMPILE}/memory.max").strip(), "an engine is being built"))
    assert "recovery complete" not in machine.run("dmesg")
    is_up(machine)
    wait(lambda: machine.said(GUARD, "fault no_camera"), "the guard knows of no camera")
    assert machine.status()["state"] == "DISARMED"
    assert machine.show(POLICY, "NRestarts") == ["0"]
    share = allowed / (int(machine.read("/proc/meminfo").split("MemTotal:")[1].split()[0]) * 1024)
    assert abs(share - 0.75) < 0.01
    row.outcome = f"built under a memory.max of {share:.0%} of the machine; ready; no_camera, no restart"


def test_scheduling(machine: VirtualMachine, row: Row) -> None:
    """LimitRTPRIO, LimitMEMLOCK, accounts"""
    others = threads(machine, GUARD)
    assert others.pop(machine.pid(GUARD)) == (os.SCHED_FIFO, PRIORITY)
    assert set(others.values()) == {(os.SCHED_FIFO, SERVANTS_PRIORITY)}
    assert set(threads(machine, POLICY).values()) == {(os.SCHED_OTHER, 0)}
    assert locked_kb(machine, GUARD) > 0
    assert locked_kb(machine, POLICY) == 0
    owners = [owner(machine, unit) for unit in (GUARD, POLICY)]
    assert owners == ["jetvla-guard", "jetvla-policy"]
    assert machine.status()["scheduling"] == f"SCHED_FIFO priority {PRIORITY}"
    row.outcome = (
        f"{owners[0]}: tick FIFO {PRIORITY}, {len(others)} other threads FIFO {SERVANTS_PRIORITY}, memory locked; "
        f"{owners[1]}: neither"
    )


def test_without_limits(machine: VirtualMachine, row: Row) -> None:
    """the guard without those two limits"""
    drop_in = f"/run/systemd/system/{GUARD}.d/95-none.conf"
    write(machine, drop_in, "[Service]\nLimitRTPRIO=0\nLimitMEMLOCK=64K\n")
    since_ns = restart_guard(machine)
    assert {policy for policy, _ in threads(machine, GUARD).values()} == {os.SCHED_OTHER}
    assert locked_kb(machine, GUARD) == 0
    assert machine.said(GUARD, "SCHED_FIFO: Operation not permitted", since_ns)
    assert machine.said(GUARD, "memory not locked", since_ns)
    machine.run("rm", drop_in)
    restart_guard(machine)
    assert threads(machine, GUARD)[machine.pid(GUARD)] == (os.SCHED_FIFO, PRIORITY)
    row.outcome = "has neither, says so, and goes on; with them again it has both"


def test_camera(machine: VirtualMachine, row: Row) -> None:
    """modprobe vivid: a V4L2 camera that comes later"""
    pid = machine.pid(POLICY)
    missing = finding(machine, "camera front")
    assert (missing["ready"], missing["detail"]) == (False, f"{DEVICE} is not there")
    plug_in(machine)
    chunks = chunks_rise(machine)
    assert machine.pid(POLICY) == pid
    assert finding(machine, "camera front")["ready"]
    assert DEVICE in machine.run("/bin/sh", "-c", f"readlink /proc/{pid}/fd/*").split()
    row.outcome = f"doctor: '{missing['detail']}', then ready; no restart; 'jetvla status': {chunks} chunks, rising"


def test_capture_time(machine: VirtualMachine, row: Row) -> None:
    """capture time of the frames behind the chunks"""
    chunks = taken(machine)
    assert len(chunks) > 5
    assert chunks == sorted(dict(chunks).items())
    ages_ms = [(taken_ns - frame_ns) / 1e6 for frame_ns, taken_ns in chunks]
    assert min(ages_ms) > 0
    # Another clock would be off by years; an emulator may take its time.
    assert max(ages_ms) < 60_000
    row.outcome = f"CLOCK_MONOTONIC: each of {len(chunks)} newer than the one before, none in the future"


def test_devices(machine: VirtualMachine, row: Row) -> None:
    """who may open the camera"""
    assert opens(machine, DEVICE) == opens(machine, DISK) == "opened"
    assert opens(machine, DEVICE, user="jetvla-guard") == "Permission denied"
    assert opens(machine, DEVICE, GUARD) == "Operation not permitted"
    assert not machine.succeeds("test", "-e", f"/proc/{machine.pid(GUARD)}/root{DEVICE}")
    assert opens(machine, DEVICE, POLICY, "jetvla-policy") == "opened"
    assert opens(machine, DISK, POLICY) == "Operation not permitted"
    row.outcome = "guard: not by account, nor by cgroup, nor is there a node; policy: it may, and not the disk"


def test_pixel_formats(probe: Probe, row: Row) -> None:
    """pixel formats of our camera"""
    found = probe("frames")
    for name, answer in found.items():
        assert answer.get("shape") == [180, 320, 3], (name, answer)
        wanted = LEVEL * BARS
        if name == "GREY":
            wanted = np.repeat(wanted @ LUMA, 3).reshape(wanted.shape)
        assert np.abs(np.array(answer["bars"]) - wanted).max() <= TOLERANCE, (name, answer["bars"])
    row.outcome = f"the bars' colours as RGB: {', '.join(name for name in found if name != 'None')}, and unasked"


def test_refusals(probe: Probe, row: Row) -> None:
    """size, rate, format that it does not give; a second program"""
    said = probe("refusals")
    assert "gives [320, 180] and not the size [320, 240]" in said["size"]
    assert "gives 5 frames a second" in said["rate"]
    assert "and not MJPG" in said["format"]
    assert "another program may be using it" in said["second program"]
    row.outcome = "each refused by name"


def test_stamps(machine: VirtualMachine, probe: Probe, row: Row) -> None:
    """a driver that stamps frames ahead of time"""
    stamp_at(machine, "end")
    found = probe("stamps")
    assert "set 'stamp: arrival' for this camera" in found["driver"]["error"]
    assert min(found["arrival"]["ages_ms"]) >= 0
    stamp_at(machine, "exposure")
    good = probe("stamps")["driver"]
    assert min(good["ages_ms"]) > 0
    row.outcome = (
        f"refused; 'stamp: arrival' takes it. Stamped at exposure, {good['interval_ms']:.0f} ms apart at 10 Hz"
    )


def test_unplugged(machine: VirtualMachine, row: Row) -> None:
    """camera unplugged while it streams, and back"""
    is_up(machine)
    before = chunks_rise(machine)
    pid, since_ns = machine.pid(POLICY), machine.now_ns()
    write(machine, "/sys/bus/platform/drivers/vivid/unbind", "vivid.0")
    wait(lambda: machine.said(GUARD, "fault no_camera", since_ns), "a fault of the guard")
    wait(lambda: "No such file or directory" in machine.show(POLICY, "StatusText")[0], "the policy says why")
    write(machine, "/sys/bus/platform/drivers/vivid/bind", "vivid.0")
    plug_in(machine)
    wait(lambda: machine.said(GUARD, "cleared no_camera", since_ns), "the fault is over")
    assert chunks_rise(machine) > before
    assert (machine.pid(POLICY), machine.show(POLICY, "NRestarts")) == (pid, ["0"])
    row.outcome = "no_camera, no restart; chunks again, from the same node"


def test_memory_max(machine: VirtualMachine, row: Row) -> None:
    """the policy beyond a MemoryMax"""
    policy, guard, since_ns = machine.pid(POLICY), machine.pid(GUARD), machine.now_ns()
    used = int(machine.read(f"{CGROUPS}/{POLICY}/memory.current"))
    machine.run("systemctl", "set-property", "--runtime", POLICY, f"MemoryMax={used // 4}")
    wait(lambda: machine.show(POLICY, "NRestarts") != ["0"], "systemd restarts it")
    machine.run("systemctl", "set-property", "--runtime", POLICY, "MemoryMax=infinity")
    kernel = machine.run("journalctl", "--boot", "--dmesg", "--no-pager")
    assert f"Memory cgroup out of memory: Killed process {policy} (python)" in kernel
    assert machine.said(POLICY, "Failed with result 'oom-kill'", since_ns)
    assert machine.said(GUARD, "fault link_lost", since_ns)
    is_up(machine)
    chunks_rise(machine)
    assert machine.pid(GUARD) == guard
    assert machine.pid(POLICY) != policy
    row.outcome = (
        f"{used / 1e6:.0f} MB in use, {used // 4 / 1e6:.0f} allowed: killed by the kernel, link_lost, restarted by "
        "systemd; the guard went on"
    )


def test_other_units(machine: VirtualMachine, row: Row) -> None:
    """jetvla-clocks, jetvla-metrics, jetvla-health"""
    assert machine.show(CLOCKS, "ActiveState", "ConditionResult") == ["inactive", "no"]
    for unit in (METRICS, HEALTH):
        assert machine.show(unit, "ActiveState", "NRestarts") == ["active", "0"], unit
    assert int(machine.read(f"{CGROUPS}/{METRICS}/memory.max")) == 256 << 20
    values = metrics(machine)
    assert values["jetvla_guard_chunks_total"] > 0
    assert [values[f'jetvla_spans_readable{{process="{name}"}}'] for name in ("policy", "guard")] == [1, 1]
    assert machine.said(HEALTH, "is on trial")
    row.outcome = "skipped, for there is no /usr/bin/jetson_clocks; serves, memory.max 256 MB; put the bundle on trial"


def test_power_cut(machine: VirtualMachine, row: Row) -> None:
    """power cut while all of it runs"""
    chunks_rise(machine)
    current = machine.run("readlink", BUNDLE)
    machine.power_cut()
    machine.boot()
    assert "EXT4-fs (vda): recovery complete" in machine.run("dmesg")
    is_up(machine)
    assert machine.run("readlink", BUNDLE) == current
    assert machine.show(COMPILE, "Result") == ["exec-condition"]
    machine.run("jetvla", "verify", BUNDLE)
    assert ": whole" in machine.run("jetvla", "audit", "verify", "/var/log/jetvla")
    plug_in(machine)
    chunks_rise(machine)
    assert machine.status()["state"] == "DISARMED"
    row.outcome = "ext4 recovered; both up, disarmed, no engine built again; bundle and audit log whole"
