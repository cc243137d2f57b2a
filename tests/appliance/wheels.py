"""The wheels of a package, installed into a folder as a Jetson's Python would, without that Jetson."""

from __future__ import annotations

import subprocess
from pathlib import Path

from jetvla.services.packaging.wheelhouse import LOCK, Target, pip_options, with_extras

from . import root

LINKER = "/lib/ld-linux-aarch64.so.1"
ELF, AARCH64 = b"\x7fELF", (183).to_bytes(2, "little")


def interpreter(python: str) -> str | None:
    """A Python of that version on this machine; a pyenv may have a name for one that it does not run."""
    try:
        subprocess.run([f"python{python}", "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"python{python}"


def unpack(package: Path, to: Path) -> Path:
    """The wheelhouses of a package."""
    subprocess.run(["dpkg-deb", "--extract", str(package), str(to)], check=True)
    return to / "usr/lib/jetvla/wheelhouse"


def install(interpreter: str, target: Target, wheelhouse: Path, to: Path) -> int:
    """Offline, every wheel by its hash, with all that jetvla and its extras depend on; how many packages."""
    requirements = wheelhouse / f"extras-{LOCK}"
    requirements.write_text(with_extras(wheelhouse))
    command = [interpreter, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-compile", "--no-cache-dir", "--no-index", "--find-links", str(wheelhouse), "--require-hashes"]
    command += [*pip_options(target), "--target", str(to), "--requirement", str(requirements)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    packages = len(list(to.glob("*.dist-info")))
    assert packages == len(list(wheelhouse.glob("*.whl")))
    return packages


def link(place: Path, folder: Path) -> int:
    """Have the dynamic linker of the file system ``place`` find the libraries of every extension module in ``folder``.

    Returns:
        how many there are.
    """
    files = [path for path in folder.rglob("*.so*") if path.is_file() and _head(path).startswith(ELF)]
    assert [path for path in files if _head(path)[18:] != AARCH64] == []
    # What lies in a folder of libraries is found by the modules, and not by itself.
    modules = [path for path in files if not path.parent.name.endswith(".libs")]
    inner = [f"/{path.relative_to(place)}" for path in modules]
    loop = f'for file; do {LINKER} --list "$file" || exit 1; done'
    said = root.inside(place, "/bin/sh", "-c", loop, "sh", *inner)
    assert "not found" not in said, said
    return len(modules)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(20)
