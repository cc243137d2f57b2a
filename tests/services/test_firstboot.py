"""Drop-ins for the machine that is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from jetvla.services import firstboot
from jetvla.services.firstboot import ENVIRONMENT, UNITS, drop_ins, environment, fit, write

POLICY = UNITS / "jetvla-policy.service.d/50-machine.conf"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    online(tmp_path, "0-3")
    return tmp_path


def online(root: Path, cpus: str) -> None:
    path = root / "sys/devices/system/cpu/online"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{cpus}\n")


def allowed(root: Path) -> list[str]:
    return [line for line in drop_ins(root)[POLICY].splitlines() if line.startswith("DeviceAllow")]


@pytest.mark.parametrize(
    ("cpus", "line"),
    [
        ("0", None),
        ("0-1", None),
        ("0-1,6", None),
        ("0-3", "0 1 2"),
        ("0-11", "0 1 2 3 4 5 6 7 8 9 10"),
        ("0-3,6", "0 1 2 3"),
        ("0,2,4-6", "0 2 4 5"),
    ],
)
def test_the_last_cpu_online_is_the_guards_where_there_are_enough(tmp_path: Path, cpus: str, line: str | None) -> None:
    online(tmp_path, cpus)
    lines = drop_ins(tmp_path)[POLICY].splitlines()
    assert [one for one in lines if one.startswith("CPUAffinity")] == ([] if line is None else [f"CPUAffinity={line}"])


def test_as_many_cpus_are_counted_as_this_machine_has_online() -> None:
    count = os.cpu_count() or 1
    found = re.search(r"^CPUAffinity=(.*)$", drop_ins(Path("/"))[POLICY], re.MULTILINE)
    assert (len(found[1].split()) if found else 0) == (count - 1 if count >= 4 else 0)


def test_a_device_that_is_late_at_one_boot_is_let_all_the_same(root: Path) -> None:
    drop_in = root / POLICY
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nCPUAffinity=0 1 2\nDeviceAllow=/dev/nvmap rw\nDeviceAllow=/dev/dri/card1 rw\n")
    assert allowed(root) == ["DeviceAllow=/dev/dri/card1 rw", "DeviceAllow=/dev/nvmap rw"]
    contents = drop_ins(root)
    assert len(set(contents.values())) == 1
    write(root, contents)
    assert drop_ins(root) == contents


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes are made by root")
def test_only_devices_that_were_there_are_let(root: Path) -> None:
    there = ("nvmap", "nvgpu/igpu0/ctrl", "dri/renderD128", "nvidiactl", "nvhost-ctrl-gpu")
    for name in (*there, "sda", "nvme0", "nvme0n1", "nvram", "nvmem0"):
        node = root / "dev" / name
        node.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.mknod(node, 0o600 | 0o020000, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("this container may not make device nodes")
    (root / "dev/nvidia-notes.txt").touch()
    assert allowed(root) == [
        "DeviceAllow=/dev/dri/renderD128 rw",
        "DeviceAllow=/dev/nvgpu/igpu0/ctrl rw",
        "DeviceAllow=/dev/nvhost-ctrl-gpu rw",
        "DeviceAllow=/dev/nvidiactl rw",
        "DeviceAllow=/dev/nvmap rw",
    ]


def test_ros_is_as_its_own_script_says(tmp_path: Path) -> None:
    setup = tmp_path / "opt/ros/humble/setup.sh"
    setup.parent.mkdir(parents=True)
    setup.write_text(
        'echo loud\nexport PYTHONPATH=/opt/ros/here:"$PYTHONPATH" ROS_DISTRO=humble SECRET=1\n'
        'export PATH=/opt/ros/humble/bin:"$PATH"\n'
    )
    assert environment(tmp_path).splitlines() == [
        'PATH="/opt/ros/humble/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"',
        'PYTHONPATH="/opt/ros/here"',
        'ROS_DISTRO="humble"',
    ]


def test_a_broken_ros_lets_the_devices_all_the_same_and_is_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (root / "bin").mkdir()
    (root / "bin/systemctl").write_text(f'#!/bin/sh\necho "$*" >> {root}/asked\n')
    (root / "bin/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}/bin:/usr/bin:/bin")
    former = root / ENVIRONMENT
    former.parent.mkdir(parents=True)
    former.write_text('ROS_DISTRO="humble"\n')
    setup = root / "opt/ros/humble/setup.sh"
    setup.parent.mkdir(parents=True)
    setup.write_text("false\n")
    monkeypatch.setattr(firstboot, "fit", lambda _: fit(root))
    assert firstboot.main() == 1
    assert (root / POLICY).is_file()
    assert (root / "asked").read_text() == "daemon-reload\n"
    assert former.read_text() == 'ROS_DISTRO="humble"\n'
    said = capfd.readouterr().err
    assert said == f"firstboot: {setup} fails with status 1; install ROS 2 again\n"
    setup.write_text("export ROS_DISTRO=jazzy\n")
    assert firstboot.main() == 0
    assert 'ROS_DISTRO="jazzy"\n' in former.read_text()
    assert (root / "asked").read_text() == "daemon-reload\n", "nothing else was written"


def test_without_ros_the_environment_is_as_it_is(tmp_path: Path) -> None:
    assert "=" not in environment(tmp_path)


def test_what_is_right_already_is_not_written_again(root: Path) -> None:
    contents = drop_ins(root) | {ENVIRONMENT: environment(root)}
    assert set(write(root, contents)) == set(contents)
    assert write(root, contents) == []
    online(root, "0-5")
    assert write(root, contents | drop_ins(root)) == list(drop_ins(root))
    assert not list(root.rglob(".*partial"))
