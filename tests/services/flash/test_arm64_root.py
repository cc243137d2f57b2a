"""The customisation of a real arm64 root file system, with its own programs under qemu: ``make flash-test``.

Debian's, since NVIDIA's cannot be had without an account; a stand-in takes the place of NVIDIA's two tools.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flash_stand_ins import MAKE_IN_CHROOT, ORIN_NANO, UNITS, make_deb, make_l4t, order

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.keys import load_public_key
from jetvla.services.flash.flashing import carry_out
from jetvla.services.flash.host import LinuxHost, UsbDevice
from jetvla.services.flash.root import RootFilesystem

ARCHIVE = os.environ.get("JETVLA_ARM64_ROOT")
BUILT_DEB = os.environ.get("JETVLA_ARM64_DEB")
SECRET = "correct horse battery staple"

pytestmark = [
    pytest.mark.skipif(not ARCHIVE, reason="no arm64 root file system; make flash-test makes one"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root rights to change a root file system"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="a flashing host is x86-64"),
]


class ThisHost(LinuxHost):
    """This machine, with a Jetson plugged in."""

    def usb(self) -> tuple[UsbDevice, ...]:
        return (ORIN_NANO,)


def unpack(root: Path) -> None:
    root.mkdir()
    subprocess.run(["tar", "--extract", "--file", str(ARCHIVE), "--directory", root], check=True)
    licence = root / "usr/share/doc/nvidia-tegra"
    licence.mkdir(parents=True)


@pytest.fixture
def arm64_l4t(tmp_path: Path) -> Path:
    return make_l4t(tmp_path, unpack, MAKE_IN_CHROOT)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from flash_stand_ins import order
from test_arm64_root import ThisHost
from jetvla.services.flash.flashing import carry_out
l4t, deb, password = map(Path, sys.argv[2:])
carry_out(order(l4t, deb, password, flashes=True, user="early"), ThisHost(), print)
"""


def test_package_bundle_units_and_user_are_really_there(
    arm64_l4t: Path, tmp_path: Path, password: Path, signed_bundle: Path
) -> None:
    deb = Path(BUILT_DEB) if BUILT_DEB else make_deb(tmp_path)
    kill_in_the_middle(arm64_l4t, deb, password)

    key = signed_bundle.parent / "keys/test.pub"
    said: list[str] = []
    carry_out(order(arm64_l4t, deb, password, bundle=signed_bundle, key=key), ThisHost(), said.append)
    root = RootFilesystem(arm64_l4t)
    assert said[-1].startswith("nothing was flashed")
    assert not (arm64_l4t / "flashed").exists()
    assert root.chroot("uname", "--machine").strip() == "aarch64"
    assert root.chroot("dpkg-query", "--show", "--showformat=${db:Status-Status}", "jetvla") == "installed"
    # The package's own services are wanted by the target; the stand-in's carry an [Install] section each.
    assert_enabled(root, ["jetvla.target"] if BUILT_DEB else ["jetvla.target", "jetvla-guard.service"])
    bundle = Bundle.open(root.path / "var/lib/jetvla/bundles/current", (load_public_key(key),))
    assert (
        root.chroot("cat", "/var/lib/jetvla/bundles/current/manifest.json").encode()
        == (bundle.path / "manifest.json").read_bytes()
    )
    assert {"sudo", "video"} <= set(root.chroot("id", "-nG", "robot").split())
    check = "import crypt,spwd,sys; h=spwd.getspnam('robot').sp_pwdp; print(crypt.crypt(sys.stdin.read(), h) == h)"
    assert root.chroot("python3", "-W", "ignore", "-c", check, stdin=SECRET).strip() == "True"
    assert "early:" not in (root.path / "etc/passwd").read_text()
    assert str(root.path) not in Path("/proc/self/mountinfo").read_text()

    carry_out(order(arm64_l4t, deb, password, bundle=signed_bundle, key=key, flashes=True), ThisHost(), said.append)
    assert "jetson-orin-nano-devkit internal" in (arm64_l4t / "flashed").read_text()


def kill_in_the_middle(l4t: Path, deb: Path, password: Path) -> None:
    """While dpkg runs in the root file system, where /proc, /sys and /dev are mounted then."""
    words = [sys.executable, "-c", KILLED, *map(str, (Path(__file__).parent, l4t, deb, password))]
    process = subprocess.Popen(words)
    while not (l4t / "rootfs/usr/sbin/policy-rc.d").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    until_nothing_runs_in(l4t / "rootfs")
    assert RootFilesystem(l4t).is_unfinished
    assert not (l4t / "flashed").exists()


def until_nothing_runs_in(root: Path) -> None:
    give_up_s = time.monotonic() + 10
    while running := [folder.name for folder in Path("/proc").glob("[0-9]*") if runs_in(folder, root)]:
        assert time.monotonic() < give_up_s, f"still running: {', '.join(running)}"
        time.sleep(0.05)


def runs_in(process: Path, root: Path) -> bool:
    """Whether a process is in ``root``, or is about to go there."""
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        return (process / "root").readlink() == root or str(root).encode() in words
    except OSError:
        # It has ended.
        return False


def assert_enabled(root: RootFilesystem, units: list[str]) -> None:
    for unit in units:
        wanted_by = "multi-user.target" if unit == "jetvla.target" else "jetvla.target"
        link = root.path / "etc/systemd/system" / f"{wanted_by}.wants" / unit
        assert link.is_symlink(), link
        assert (root.path / str(link.readlink()).lstrip("/")).is_file()
        assert root.chroot("systemctl", "is-enabled", unit).strip() == "enabled"
    if not BUILT_DEB:
        assert "jetvla-alone.service" in UNITS
        assert not list(root.path.glob("etc/systemd/system/*.wants/jetvla-alone.service"))
