"""Root file systems: a bare Debian, and one with the package in it, each made once and kept in ``build/appliance``."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

RELEASE = "bookworm"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,python3-systemd,udev"
# A kernel of its own with all of its modules, who answers to the host, and what sets a camera's controls.
KERNEL = "linux-image-amd64,qemu-guest-agent,v4l-utils"
# The simulated robot is on ROS 2, which Debian has not; a Jetson takes it from apt.
ROS = (
    "ros-diagnostic-msgs",
    "ros-geometry-msgs",
    "ros-rclpy[fastrtps]",
    "ros-sensor-msgs",
    "ros-std-msgs",
    "ros-std-srvs",
    "ros-trajectory-msgs",
)


def bare(cache: Path, constraints: Path) -> Path:
    """Debian 12 with what the package depends on, and the wheels of ROS 2 for later."""
    root = cache / RELEASE
    if not (cache / "bare").exists():
        _remove(root)
        cache.mkdir(parents=True, exist_ok=True)
        _run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, root)
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--constraint", constraints, "--dest"]
        _run(*download, cache / "ros", *ROS)
        (cache / "bare").touch()
    return root


def unpack(archive: Path, to: Path) -> Path:
    """A file system of its own from a tar archive."""
    _remove(to)
    to.mkdir(parents=True)
    _run("tar", "--extract", "--xattrs", "--xattrs-include=*", "--file", archive, "--directory", to)
    return to


def virtual(cache: Path) -> Path:
    """The same with a kernel, for a virtual machine."""
    root = cache / f"{RELEASE}-kernel"
    if not (cache / "bare-kernel").exists():
        _remove(root)
        cache.mkdir(parents=True, exist_ok=True)
        _run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES},{KERNEL}", RELEASE, root)
        (cache / "bare-kernel").touch()
    return root


def disk(root: Path, image: Path, size: str) -> None:
    """``root`` as a disk with a journalled file system."""
    image.unlink(missing_ok=True)
    _run("truncate", f"--size={size}", image)
    _run("mkfs.ext4", "-q", "-L", "root", "-d", root, image)


def installed(cache: Path, package: Path, constraints: Path) -> Path:
    """The same with ``package`` installed in it, by dpkg and offline, and ROS 2 added."""
    root = cache / f"installed-{digest(package)}"
    if not root.exists():
        for old in cache.glob("installed-*"):
            shutil.rmtree(old)
        partial = copy(bare(cache, constraints), cache / "installing")
        install(partial, package)
        add_ros(partial, cache)
        partial.rename(root)
    return root


def copy(root: Path, to: Path) -> Path:
    """A file system of its own."""
    _remove(to)
    _run("cp", "-a", "--reflink=auto", root, to)
    return to


def inside(root: Path, *command: str) -> str:
    """Run ``command`` in ``root``, offline, without booting it; its output."""
    # As process 1 a program that crashes would hang instead.
    container = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--as-pid2"]
    container += ["-D", str(root)]
    ran = subprocess.run([*container, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ran.returncode == 0, f"{command} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


def install(root: Path, package: Path) -> str:
    """``dpkg -i`` it, for real; what that printed."""
    shutil.copy(package, root / "root")
    try:
        return inside(root, "dpkg", "--install", f"/root/{package.name}")
    finally:
        (root / "root" / package.name).unlink()


def add_ros(root: Path, cache: Path) -> None:
    """ROS 2 from its wheels into the package's environment; it stands in for apt's."""
    shutil.copytree(cache / "ros", root / "root/ros")
    pip = ("/opt/jetvla/venv/bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--find-links", "/root/ros")
    inside(root, *pip, *ROS)
    shutil.rmtree(root / "root/ros")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        found = hashlib.sha256()
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()[:16]


def _remove(root: Path) -> None:
    # A broken-off mmdebstrap may have left something mounted there.
    _run("rm", "-rf", "--one-file-system", root)


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)
