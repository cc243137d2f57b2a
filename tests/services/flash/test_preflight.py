"""Every reason against a flash is named with its remedy, before anything is touched."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from flash_stand_ins import ORIN_NANO, FakeHost

from jetvla.services.flash.boards import BOARDS, board_named
from jetvla.services.flash.errors import FlashError
from jetvla.services.flash.host import LinuxHost, UsbDevice
from jetvla.services.flash.initrd import command
from jetvla.services.flash.preflight import check
from jetvla.services.flash.release import Release, tools_release

NANO = BOARDS["jetson-orin-nano-devkit"]
RUNS, AGX, THOR = (UsbDevice(0x0955, product, "1-2") for product in (0x7020, 0x7023, 0x7026))
AUTOMATION, MOUSE = UsbDevice(0x0955, 0x7045, "1-3"), UsbDevice(0x046D, 0xC077, "1-1")


def test_a_right_host_passes_and_finds_the_jetson_among_other_devices(l4t: Path) -> None:
    found = check(FakeHost(devices=(MOUSE, AUTOMATION, ORIN_NANO)), NANO, l4t)
    assert (found.release, found.device, found.warnings) == (Release(36, 4, 3), ORIN_NANO, ())


@pytest.mark.parametrize(
    ("host", "reason", "remedy"),
    [
        (FakeHost(name="aarch64"), "this machine is aarch64", "flash from a PC"),
        (FakeHost(root=False), "root rights", "sudo"),
        (FakeHost(programs=frozenset()), "qemu-aarch64-static is not installed", "apt install qemu-user-static"),
        (FakeHost(emulates=False), "does not hand ARM programs", "update-binfmts --enable qemu-aarch64"),
        (FakeHost(running=frozenset({"udisksd"})), "udisksd runs", "systemctl stop udisks2.service"),
        (FakeHost(running=frozenset({"gvfs-udisks2-vo"})), "gvfs-udisks2-vo runs", "systemctl --user stop"),
        (FakeHost(free=1), "0.0 GB are free", "make room"),
        (FakeHost(devices=()), "no Jetson in recovery mode is plugged in", "force-recovery button"),
        (FakeHost(devices=(MOUSE, AUTOMATION)), "no Jetson in recovery mode", "force-recovery button"),
        (FakeHost(devices=(ORIN_NANO, AGX)), "0955:7523 at 1-4, 0955:7023 at 1-2", "leave only the one"),
        (FakeHost(devices=(AGX,)), "AGX Orin 64 GB or developer kit (0955:7023)", "correct BOARD"),
        (FakeHost(devices=(THOR,)), "AGX Thor T5000", "correct BOARD"),
        (FakeHost(devices=(RUNS,)), "a Jetson that runs Linux", "force-recovery button"),
        (FakeHost(devices=(replace(AGX, product=0x7035),)), "an interrupted flash", "force-recovery button"),
        (FakeHost(devices=(replace(AGX, product=0x9999),)), "0955:9999 is no Jetson", "force-recovery button"),
    ],
)
def test_what_is_wrong_with_the_host_is_named(l4t: Path, host: FakeHost, reason: str, remedy: str) -> None:
    with pytest.raises(FlashError) as raised:
        check(host, NANO, l4t)
    (line,) = str(raised.value).splitlines()[1:]
    assert reason in line
    assert remedy in line


def test_all_reasons_are_named_at_once(l4t: Path) -> None:
    with pytest.raises(FlashError) as raised:
        check(FakeHost(name="aarch64", root=False, devices=(), free=0), NANO, l4t)
    assert len(str(raised.value).splitlines()) == 5


def test_a_virtual_machine_is_warned(l4t: Path) -> None:
    (warning,) = check(FakeHost(virtual=True), NANO, l4t).warnings
    assert "virtual machine" in warning


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("rootfs/etc/os-release", "tar -xpf Tegra_Linux_Sample-Root-Filesystem_R36.4.3_aarch64.tbz2"),
        ("rootfs/etc/nv_tegra_release", "apply_binaries.sh"),
        ("nv_tegra/bsp_version", "must be the folder Linux_for_Tegra"),
        ("jetson-orin-nano-devkit.conf", "unpack the driver package"),
        ("tools/l4t_create_default_user.sh", "unpack the driver package"),
        ("tools/kernel_flash/l4t_initrd_flash.sh", "unpack the driver package"),
    ],
)
def test_what_is_missing_in_the_folder_is_named(l4t: Path, missing: str, remedy: str) -> None:
    (l4t / missing).unlink()
    with pytest.raises(FlashError, match=remedy):
        check(FakeHost(), NANO, l4t)


def test_an_empty_rootfs_is_no_root_file_system(l4t: Path) -> None:
    shutil.rmtree(l4t / "rootfs")
    (l4t / "rootfs").mkdir()
    with pytest.raises(FlashError, match="holds no root file system"):
        check(FakeHost(), NANO, l4t)


def test_a_root_file_system_of_another_release_is_refused(l4t: Path) -> None:
    (l4t / "rootfs/etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.0, GCID: 1\n")
    with pytest.raises(FlashError, match=r"is of R36\.4\.0 and the tools are of R36\.4\.3"):
        check(FakeHost(), NANO, l4t)


@pytest.mark.parametrize(
    ("board", "release", "suits"),
    [
        ("jetson-orin-nano-devkit", (36, 3, 0), False),  # TensorRT 8.6
        ("jetson-orin-nano-devkit", (36, 4, 0), True),
        ("jetson-orin-nano-devkit", (38, 4, 0), False),  # Thor alone
        ("jetson-orin-nano-devkit-super", (36, 4, 0), False),
        ("jetson-orin-nano-devkit-super", (36, 4, 3), True),
        ("jetson-agx-orin-devkit", (35, 6, 1), False),
        ("jetson-agx-orin-devkit", (39, 2, 1), True),
        ("jetson-agx-thor-devkit", (36, 4, 4), False),
        ("jetson-agx-thor-devkit", (38, 2, 0), True),
        ("jetson-agx-thor-devkit", (39, 2, 0), True),
    ],
)
def test_the_release_must_suit_the_board(board: str, release: tuple[int, int, int], suits: bool) -> None:
    assert BOARDS[board].suits(Release(*release)) is suits


def test_a_release_that_does_not_suit_is_refused_with_those_that_do(l4t: Path) -> None:
    text = (l4t / "nv_tegra/bsp_version").read_text().replace("BRANCH=36", "BRANCH=38")
    (l4t / "nv_tegra/bsp_version").write_text(text)
    assert tools_release(l4t) == Release(38, 4, 3)
    with pytest.raises(FlashError, match=r"R38\.4\.3 does not suit .*R36\.4\.0 or newer of R36, R39\.2\.0 or newer"):
        check(FakeHost(), NANO, l4t)


def test_a_torn_version_file_is_named(l4t: Path) -> None:
    (l4t / "nv_tegra/bsp_version").write_text("BSP_BRANCH=\n")
    with pytest.raises(FlashError, match="names no BSP_BRANCH"):
        tools_release(l4t)


def test_an_unknown_board_is_answered_with_the_known_ones() -> None:
    with pytest.raises(FlashError, match="jetson-agx-thor-devkit; an Orin NX takes"):
        board_named("jetson-nano")


def test_the_command_is_nvidias_for_each_board_and_branch(l4t: Path) -> None:
    assert " ".join(command(NANO, Release(36, 4, 3), l4t)) == (
        "./tools/kernel_flash/l4t_initrd_flash.sh --external-device nvme0n1p1 "
        "-c tools/kernel_flash/flash_l4t_t234_nvme.xml -p -c bootloader/generic/cfg/flash_t234_qspi.xml "
        "--network usb0 --showlogs jetson-orin-nano-devkit internal"
    )
    (l4t / "l4t_initrd_flash.sh").touch()
    thor = command(BOARDS["jetson-agx-thor-devkit"], Release(38, 4, 0), l4t)
    assert " ".join(thor) == "./l4t_initrd_flash.sh --showlogs jetson-agx-thor-devkit internal"


def test_the_machines_files_are_read(tmp_path: Path) -> None:
    for name, product in (("1-4", "7523"), ("usb1", "")):
        folder = tmp_path / "sys/bus/usb/devices" / name
        folder.mkdir(parents=True)
        (folder / "idVendor").write_text("0955\n")
        (folder / "idProduct").write_text(f"{product}\n")
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/comm").write_text("udisksd\n")
    (tmp_path / "proc/cpuinfo").write_text("flags\t\t: fpu hypervisor sse\n")
    entry = tmp_path / "proc/sys/fs/binfmt_misc/qemu-aarch64"
    entry.parent.mkdir(parents=True)
    host = LinuxHost(tmp_path)
    assert not host.runs_aarch64()
    entry.write_text("disabled\ninterpreter /usr/bin/qemu\n")
    assert not host.runs_aarch64()
    entry.write_text("enabled\ninterpreter /usr/bin/qemu\n")
    assert host.runs_aarch64()
    assert host.usb() == (ORIN_NANO,)
    assert host.processes() == {"udisksd"}
    assert host.is_virtual()
    (tmp_path / "proc/cpuinfo").write_text("flags\t\t: fpu sse\n")
    assert not host.is_virtual()
