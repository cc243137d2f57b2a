"""Drop-ins for the machine that is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jetvla.services.firstboot import ENVIRONMENT, UNITS, drop_ins, environment, write

POLICY = UNITS / "jetvla-policy.service.d/50-machine.conf"


@pytest.mark.parametrize(("cpus", "line"), [(1, None), (2, None), (4, "CPUAffinity=0-2"), (12, "CPUAffinity=0-10")])
def test_the_last_cpu_is_the_guards_where_there_are_enough(tmp_path: Path, cpus: int, line: str | None) -> None:
    lines = drop_ins(tmp_path, cpus)[POLICY].splitlines()
    assert [one for one in lines if one.startswith("CPUAffinity")] == ([] if line is None else [line])


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes are made by root")
def test_only_the_devices_that_are_there_are_let(tmp_path: Path) -> None:
    there = ("nvmap", "nvgpu/igpu0/ctrl", "dri/renderD128", "nvidiactl", "nvhost-ctrl-gpu")
    for name in (*there, "sda", "nvme0", "nvme0n1", "nvram", "nvmem0"):
        node = tmp_path / "dev" / name
        node.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.mknod(node, 0o600 | 0o020000, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("this container may not make device nodes")
    (tmp_path / "dev/nvidia-notes.txt").touch()
    lines = drop_ins(tmp_path, 2)[POLICY].splitlines()
    assert [line for line in lines if line.startswith("DeviceAllow")] == [
        "DeviceAllow=/dev/dri/renderD128 rw",
        "DeviceAllow=/dev/nvgpu/igpu0/ctrl rw",
        "DeviceAllow=/dev/nvhost-ctrl-gpu rw",
        "DeviceAllow=/dev/nvidiactl rw",
        "DeviceAllow=/dev/nvmap rw",
    ]


def test_ros_is_as_its_own_script_says(tmp_path: Path) -> None:
    setup = tmp_path / "opt/ros/humble/setup.sh"
    setup.parent.mkdir(parents=True)
    setup.write_text('echo loud\nexport PYTHONPATH=/opt/ros/here:"$PYTHONPATH" ROS_DISTRO=humble SECRET=1\n')
    assert environment(tmp_path) == 'PATH="/usr/local/bin:/usr/bin:/bin"\nPYTHONPATH="/opt/ros/here:"\n' + (
        'ROS_DISTRO="humble"\n'
    )


def test_without_ros_the_environment_is_as_it_is(tmp_path: Path) -> None:
    assert "=" not in environment(tmp_path)


def test_what_is_right_already_is_not_written_again(tmp_path: Path) -> None:
    contents = drop_ins(tmp_path, 4) | {ENVIRONMENT: environment(tmp_path)}
    assert set(write(tmp_path, contents)) == set(contents)
    assert write(tmp_path, contents) == []
    assert write(tmp_path, contents | drop_ins(tmp_path, 6)) == list(drop_ins(tmp_path, 6))
    assert not list(tmp_path.rglob(".*partial"))
