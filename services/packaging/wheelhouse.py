"""The wheels that an installed jetvla needs, each locked by its hash, for a machine that may be offline."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

LOCK = "requirements.txt"
# What the device needs beyond the daemons' own: recording, updates from a fleet's server, memory of the GPU (Ubuntu's
# python3-pycuda pulls in a desktop's driver). TensorRT, systemd and ROS 2 come from apt. torch and onnx stay on the
# build host: TensorRT reads a bundle's graphs itself, and without onnx 'jetvla compile' only does not rewrite them for
# the kernels of a CPU.
EXTRAS = ("record", "fleet", "gpu")
# glibc of the oldest system (2.35 on JetPack 6) is newer than any of these tags.
_NEWEST_GLIBC = 28
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Target:
    """A Debian architecture and a Python, as in ("arm64", "3.10")."""

    arch: str
    python: str

    @property
    def tag(self) -> str:
        return "cp" + self.python.replace(".", "")

    @property
    def machine(self) -> str:
        return _MACHINES[self.arch]


def fill(folder: Path, target: Target, source: Path, own: Path) -> None:
    """Put every wheel for ``target``, ``own`` included, and their lock into ``folder``.

    Args:
        source: the tree with ``pyproject.toml`` and ``constraints.txt``.
        own: jetvla's own wheel.
    """
    folder.mkdir(parents=True)
    resolved = folder / "resolved.txt"
    _resolve(resolved, target, source)
    _download(folder, target, resolved)
    resolved.unlink()
    (folder / own.name).write_bytes(own.read_bytes())
    (folder / LOCK).write_text(lock(folder), encoding="utf-8")
    check(folder, target)


def check(folder: Path, target: Target) -> None:
    """Resolve jetvla with its extras for ``target`` from ``folder`` alone, by the lock.

    Raises:
        subprocess.CalledProcessError: if a wheel is missing or is for another machine; uv has said which.
    """
    with tempfile.TemporaryDirectory(prefix="jetvla-check-") as place:
        requirements = Path(place, LOCK)
        requirements.write_text(with_extras(folder), encoding="utf-8")
        _run(
            *("uv", "--quiet", "--offline", "--no-config", "--no-cache", "pip", "install", "--dry-run"),
            *("--no-index", "--find-links", folder, "--require-hashes"),
            *_platform(target),
            *("--target", Path(place, "nowhere"), "--requirement", requirements),
        )


def with_extras(folder: Path) -> str:
    """The lock of ``folder``, which then also says that what jetvla's extras need is in it."""
    text = (folder / LOCK).read_text(encoding="utf-8")
    return re.sub("^jetvla==", f"jetvla[{','.join(EXTRAS)}]==", text, flags=re.MULTILINE)


def _platform(target: Target) -> tuple[str, ...]:
    """For uv: choose by the markers and tags of ``target`` instead of this machine's."""
    platform = f"{target.machine}-manylinux_2_{_NEWEST_GLIBC}"
    return ("--python-version", target.python, "--python-platform", platform, "--only-binary", ":all:")


def _resolve(lock: Path, target: Target, source: Path) -> None:
    """Versions and hashes."""
    extras: list[str | Path] = [option for extra in EXTRAS for option in ("--extra", extra)]
    _run(
        *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"),
        *_platform(target),
        *("--constraints", source / "constraints.txt", *extras),
        *("--output-file", lock, source / "pyproject.toml"),
    )


def pip_options(target: Target) -> list[str]:
    """Make pip choose by the tags of ``target``; the markers stay those of the Python that pip runs in."""
    tags = [f"manylinux_2_{minor}" for minor in range(_NEWEST_GLIBC, 4, -1)]
    tags += ["manylinux2014", "manylinux2010", "manylinux1", "linux"]
    platforms = [option for tag in tags for option in ("--platform", f"{tag}_{target.machine}")]
    abis = [option for abi in (target.tag, "abi3", "none") for option in ("--abi", abi)]
    python = ["--python-version", target.python, "--implementation", "cp", "--only-binary", ":all:"]
    return [*python, *abis, *platforms]


def _download(folder: Path, target: Target, lock: Path) -> None:
    _run(
        *("pip", "download", "--quiet", "--no-deps", "--require-hashes"),
        *pip_options(target),
        *("--dest", folder, "--requirement", lock),
    )


def lock(folder: Path) -> str:
    """One line a wheel, with the one hash that it has here."""
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{re.sub('[-_.]+', '-', name).lower()}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def _run(module: str, *arguments: str | Path) -> None:
    # The device's pins are in the lock; a constraint of this machine's pip has nothing to say.
    subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
