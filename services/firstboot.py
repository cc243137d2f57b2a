"""Fits the services to this machine: ``python -m jetvla.services.firstboot``, as root, at every start of the target.

What differs from one machine to the next cannot stand in a package's units: a CPU that is not there, or ROS 2's folder.
This writes it as drop-ins of systemd and as an environment file, tells systemd if anything changed, and is done.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from jetvla.runtime.errors import JetvlaError

UNITS = Path("etc/systemd/system")
DROP_IN = "50-machine.conf"
ENVIRONMENT = Path("var/lib/jetvla/machine.env")
# Units that compute, and so must leave the guard a CPU and be let to the accelerator.
_COMPUTING = ("jetvla-policy.service", "jetvla-compile.service")
# The guard ticks a hundred times a second; on a smaller machine no CPU can be spared for it.
_ENOUGH_CPUS = 4
# Tegra's and NVIDIA's nodes, and those that every GPU driver makes; disks (nvme*) and firmware (nvram) are none.
_NVIDIA = ("nvhost-*", "nvidia*", "nvmap", "nvsciipc", "nvgpu/*/*", "nvidia-caps/*")
_DEVICES = (*_NVIDIA, "dri/*", "host1x-fence", "media*", "v4l-subdev*")
# All of it: what ROS 2's script makes of it is the services' PATH, and nvpmodel is in /usr/sbin.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ONLINE = "sys/devices/system/cpu/online"
_ROS_SETUP = "opt/ros/*/setup.sh"
_ROS_NAMES = (
    "AMENT_PREFIX_PATH",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "ROS_DISTRO",
    "ROS_PYTHON_VERSION",
    "ROS_VERSION",
)


def main() -> int:
    """0; 1 after one line that says what is wrong. Without ROS 2 the devices are let all the same."""
    try:
        fit(Path("/"))
    except (OSError, subprocess.CalledProcessError, JetvlaError) as error:
        print(f"firstboot: {error}", file=sys.stderr)
        return 1
    return 0


def fit(root: Path) -> None:
    """Write for the machine whose files are below ``root``. What a broken ROS 2 had set before stays."""
    if _write(root, drop_ins(root)):
        subprocess.run(["systemctl", "daemon-reload"], check=True)
    _write(root, {ENVIRONMENT: environment(root)})


def _write(root: Path, contents: Mapping[Path, str]) -> list[Path]:
    written = write(root, contents)
    for path in written:
        print(f"written for this machine: /{path}", flush=True)
    return written


def drop_ins(root: Path) -> dict[Path, str]:
    """Contents by path below ``root``."""
    cpus = _online(root)
    lines = ["# Written by jetvla-firstboot for this machine; what you write into another file here is kept."]
    lines.append("[Service]")
    if len(cpus) >= _ENOUGH_CPUS:
        lines.append(f"CPUAffinity={' '.join(str(cpu) for cpu in cpus[:-1])}")
    # A driver may be late at one boot. To systemd a node that is not there is nothing; one that is not named is denied.
    lines += [f"DeviceAllow={node} rw" for node in sorted(_nodes(root / "dev") | _known(root))]
    text = "\n".join(lines) + "\n"
    return {UNITS / f"{unit}.d" / DROP_IN: text for unit in _COMPUTING}


def environment(root: Path) -> str:
    """What ROS 2's own setup script sets, for the daemons; empty without ROS 2, JetvlaError if it fails."""
    scripts = sorted(root.glob(_ROS_SETUP))
    if not scripts:
        return "# No ROS 2 in /opt/ros.\n"
    ran = subprocess.run(
        ["/bin/sh", "-c", '. "$1" >&2 && env -0', "sh", str(scripts[-1])],
        env={"PATH": _PATH},
        check=False,
        stdout=subprocess.PIPE,
    )
    if ran.returncode != 0:
        raise JetvlaError(f"{scripts[-1]} fails with status {ran.returncode}; install ROS 2 again")
    found = dict(item.split("=", 1) for item in ran.stdout.decode().split("\0") if "=" in item)
    return "".join(_assignments(found))


def _assignments(found: Mapping[str, str]) -> Iterator[str]:
    for name in _ROS_NAMES:
        if name in found:
            # An empty place in a list of folders is the current one.
            value = ":".join(filter(None, found[name].split(":")))
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            yield f'{name}="{quoted}"\n'


def _online(root: Path) -> list[int]:
    """Numbers of the CPUs that are online, which a power mode decides; ``0-3,6`` has a gap."""
    ranges = [part.split("-") for part in (root / _ONLINE).read_text(encoding="ascii").strip().split(",")]
    return [cpu for ends in ranges for cpu in range(int(ends[0]), int(ends[-1]) + 1)]


def _known(root: Path) -> set[str]:
    """The nodes that were let at a former boot."""
    former = [root / UNITS / f"{unit}.d" / DROP_IN for unit in _COMPUTING]
    text = "".join(path.read_text(encoding="utf-8") for path in former if path.is_file())
    return set(re.findall(r"^DeviceAllow=(/dev/\S+) rw$", text, re.MULTILINE))


def _nodes(folder: Path) -> set[str]:
    found = {path for pattern in _DEVICES for path in folder.glob(pattern)}
    return {f"/dev/{path.relative_to(folder)}" for path in found if _is_device(path)}


def _is_device(path: Path) -> bool:
    return stat.S_ISCHR(path.stat().st_mode)


def write(root: Path, contents: Mapping[Path, str]) -> list[Path]:
    """Write what differs, each file whole or not at all; the paths that were written."""
    return [path for path, text in contents.items() if _replace(root / path, text)]


def _replace(path: Path, text: str) -> bool:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    return True


if __name__ == "__main__":
    sys.exit(main())
