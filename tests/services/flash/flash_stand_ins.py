"""A stand-in for ``Linux_for_Tegra``, a package, and a host on which everything is right."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jetvla.services.flash.errors import FlashError
from jetvla.services.flash.flashing import Order
from jetvla.services.flash.host import UsbDevice
from jetvla.services.flash.root import own_namespaces, run_program

UNITS = {
    "jetvla.target": "[Unit]\nDescription=robot\n[Install]\nWantedBy=multi-user.target\n",
    "jetvla-guard.service": "[Unit]\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=jetvla.target\n",
    "jetvla-policy.service": "[Unit]\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=jetvla.target\n",
    "jetvla-alone.service": "[Unit]\n[Service]\nExecStart=/bin/true\n",
}
ORIN_NANO = UsbDevice(0x0955, 0x7523, "1-4")
# As NVIDIA's own: options, what it prints, and that it takes the account's groups from the root file system.
CREATE_USER = """#!/bin/bash
set -e
while [ -n "$1" ]; do
    case "$1" in
    -u|--username) user="$2"; shift 2 ;;
    --accept-license) accepted=1; shift ;;
    *) echo "ERROR: Invalid parameter $1"; exit 1 ;;
    esac
done
[ -n "$accepted" ]
root="$(cd "$(dirname "$0")/.." && pwd)/rootfs"
echo "Creating: Username - $user, Password - Zm9vYmFy, Autologin - false"
{make}
"""
MAKE_BY_HAND = 'echo "$user:x:1000:1000::/home/$user:/bin/bash" >> "$root/etc/passwd"'
MAKE_IN_CHROOT = """mount --bind /proc "$root/proc"
chroot "$root" useradd -m -G sudo,video,audio,adm -s /bin/bash -p '$1$ab$2kUuqL3kvbZlMeaUHt1L4.' "$user"
"""


@dataclass
class FakeHost:
    """Everything is right until a test changes it."""

    name: str = "x86_64"
    root: bool = True
    virtual: bool = False
    devices: tuple[UsbDevice, ...] = (ORIN_NANO,)
    running: frozenset[str] = frozenset({"systemd"})
    emulates: bool = True
    programs: frozenset[str] = frozenset({"qemu-aarch64-static"})
    free: int = 10**12

    def is_root(self) -> bool:
        return self.root

    def machine(self) -> str:
        return self.name

    def is_virtual(self) -> bool:
        return self.virtual

    def usb(self) -> tuple[UsbDevice, ...]:
        return self.devices

    def processes(self) -> frozenset[str]:
        return self.running

    def runs_aarch64(self) -> bool:
        return self.emulates

    def has(self, program: str) -> bool:
        return program in self.programs

    def free_bytes(self, folder: Path) -> int:
        return self.free


def make_l4t(folder: Path, root: Callable[[Path], None], make_user: str) -> Path:
    """A stand-in for the unpacked driver package of R36.4.3, around the root file system that ``root`` makes."""
    l4t = folder / "Linux_for_Tegra"
    (l4t / "nv_tegra").mkdir(parents=True)
    (l4t / "nv_tegra/bsp_version").write_text(
        '# licence\n\nBSP_BRANCH=36\nBSP_MAJOR=4\nBSP_MINOR=3\nBSP_VERSION="${BSP_BRANCH}.${BSP_MAJOR}.${BSP_MINOR}"\n'
    )
    for board in ("jetson-orin-nano-devkit", "jetson-agx-orin-devkit"):
        (l4t / f"{board}.conf").touch()
    script(l4t / "tools/l4t_create_default_user.sh", CREATE_USER.replace("{make}", make_user))
    script(l4t / "tools/kernel_flash/l4t_initrd_flash.sh", '#!/bin/sh\necho "flashing $*" | tee flashed\n')
    root(l4t / "rootfs")
    (l4t / "rootfs/etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    return l4t


def tiny_root(root: Path) -> None:
    for name in ("etc", "usr/bin", "usr/sbin", "var/tmp", "var/lib/dpkg/info", "proc"):
        (root / name).mkdir(parents=True)
    (root / "etc/os-release").write_text("NAME=Ubuntu\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
    (root / "usr/bin/dpkg").touch()


def make_deb(folder: Path, name: str = "jetvla", architecture: str = "arm64", depends: str = "") -> Path:
    """A real package that holds the units."""
    tree = folder / "deb"
    shutil.rmtree(tree, ignore_errors=True)
    units = tree / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for unit, text in UNITS.items():
        (units / unit).write_text(text)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 0.1.0\nArchitecture: {architecture}\nMaintainer: jetvla <nobody@localhost>\n"
        + (f"Depends: {depends}\n" if depends else "")
        + "Description: stand-in\n"
    )
    deb = folder / f"{name}_0.1.0_{architecture}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, deb], check=True, capture_output=True)
    return deb


@dataclass
class TinyRunner:
    """Runs host programs; those of the tiny root file system, which has none, are played.

    ``fails`` names a program that fails, ``idles`` one that does nothing; ``stdin`` is what each was given, and
    ``forbidden`` whether services could not start while it ran.
    """

    fails: str = ""
    idles: str = ""
    calls: list[list[str]] = field(default_factory=list)
    stdin: dict[str, str] = field(default_factory=dict)
    forbidden: dict[str, bool] = field(default_factory=dict)

    def __call__(self, words: Sequence[str], stdin: str = "") -> str:
        if words[0] != "setpriv":
            return run_program(words, stdin)
        inside = list(words[len(own_namespaces()) :])
        if inside[0] != "sh":
            return run_program(inside, stdin)
        root, program = Path(inside[3]), inside[4:]
        self.calls.append(program)
        self.stdin[program[0]] = stdin
        policy = root / "usr/sbin/policy-rc.d"
        self.forbidden[program[0]] = (
            policy.is_file() and os.access(policy, os.X_OK) and "exit 101" in policy.read_text()
        )
        if program[0] == self.fails:
            raise FlashError(f"{program[0]} failed with status 1:\n")
        return self._play(root, program)

    def _play(self, root: Path, program: list[str]) -> str:
        if program[0] == self.idles:
            return ""
        if program[0] == "dpkg" or program[-1] == "install":
            deb = root / "var/tmp/jetvla.deb"
            subprocess.run(["dpkg-deb", "--extract", deb, root], check=True)
            listed = "\n".join(f"/usr/lib/systemd/system/{unit}" for unit in UNITS)
            (root / "var/lib/dpkg/info/jetvla.list").write_text(f"/.\n/usr\n{listed}\n")
        elif program[0] == "systemctl":
            for unit in program[2:]:
                wants = root / "etc/systemd/system" / f"{UNITS[unit].split('WantedBy=')[1].strip()}.wants"
                wants.mkdir(parents=True, exist_ok=True)
                (wants / unit).symlink_to(f"/usr/lib/systemd/system/{unit}")
        return "installed" if program[0] == "dpkg-query" else ""


def order(l4t: Path, deb: Path, password: Path, **changes: object) -> Order:
    values: dict[str, object] = {
        "board": "jetson-orin-nano-devkit",
        "l4t": l4t,
        "deb": deb,
        "bundle": None,
        "key": None,
        "user": "robot",
        "password_file": password,
        "accepts_license": True,
        "flashes": False,
    }
    return Order(**(values | changes))  # type: ignore[arg-type]


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
