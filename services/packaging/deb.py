"""Builds ``jetvla_VERSION_ARCH.deb`` from the tracked files, without root, the same bytes each time.

Usage: python -m jetvla.services.packaging.deb --arch arm64 --python 3.10 --python 3.12 --out build
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from jetvla.services.packaging.wheelhouse import Target, fill

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "services/packaging"
PYTHONS = {"amd64": ("3.11",), "arm64": ("3.10", "3.12")}
_LIB = Path("usr/lib/jetvla")
_SYSTEM = Path("usr/lib/systemd/system")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=sorted(PYTHONS), required=True)
    parser.add_argument("--python", action="append", metavar="X.Y", help="(default: what the systems have)")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    arguments = parser.parse_args(argv)
    if shutil.which("dpkg-deb") is None:
        print("deb: dpkg-deb is not here; install the package dpkg", file=sys.stderr)
        return 1
    os.environ.setdefault("SOURCE_DATE_EPOCH", _git("log", "-1", "--format=%ct").strip())
    os.umask(0o022)
    targets = [Target(arguments.arch, python) for python in arguments.python or PYTHONS[arguments.arch]]
    with tempfile.TemporaryDirectory(prefix="jetvla-deb-") as folder:
        print(build(arguments.arch, targets, Path(folder), arguments.out))
    return 0


def build(arch: str, targets: Sequence[Target], workdir: Path, out: Path) -> Path:
    """The package's path; ``workdir`` is for what it is made of."""
    source = _checkout(workdir / "source")
    wheel = _wheel(source, workdir / "wheel")
    tree = workdir / "tree"
    for target in targets:
        fill(tree / _LIB / "wheelhouse" / target.tag, target, source, wheel)
    _lay_out(tree, source)
    _write_control(tree, source, arch, targets)
    _level(tree)
    out.mkdir(parents=True, exist_ok=True)
    package = out / f"jetvla_{_version(source)}_{arch}.deb"
    # Wheels are compressed already.
    _run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, package)
    return package


def _checkout(folder: Path) -> Path:
    """A copy of the tracked files as they are now."""
    for name in filter(None, _git("ls-files", "-z").split("\0")):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    _level(folder)
    return folder


def _wheel(source: Path, folder: Path) -> Path:
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source, quiet=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _lay_out(tree: Path, source: Path) -> None:
    units, files = source / "services/units", source / "services/packaging/files"
    placed = {unit: _SYSTEM / unit.name for unit in (*units.glob("*.service"), *units.glob("*.target"))}
    placed |= {
        units / "jetvla.sysusers": Path("usr/lib/sysusers.d/jetvla.conf"),
        units / "jetvla.tmpfiles": Path("usr/lib/tmpfiles.d/jetvla.conf"),
        files / "jetvla": Path("usr/bin/jetvla"),
        files / "make-venv": _LIB / "make-venv",
        files / "jetvla.yaml": Path("etc/jetvla/jetvla.yaml"),
        files / "default": Path("etc/default/jetvla"),
        files / "fastdds.xml": Path("usr/share/jetvla/fastdds.xml"),
        source / "LICENSE": Path("usr/share/doc/jetvla/copyright"),
        source / "docs/APPLIANCE.md": Path("usr/share/doc/jetvla/APPLIANCE.md"),
        source / "docs/SAFETY.md": Path("usr/share/doc/jetvla/SAFETY.md"),
        source / "docs/PROFILING.md": Path("usr/share/doc/jetvla/PROFILING.md"),
    }
    for origin, place in placed.items():
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, tree / place)
    (tree / "etc/jetvla/trusted.d").mkdir()


def _write_control(tree: Path, source: Path, arch: str, targets: Sequence[Target]) -> None:
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    debian = tree / "DEBIAN"
    shutil.copytree(source / "services/packaging/debian", debian)
    control = debian / "control"
    text = control.read_text(encoding="utf-8").replace("@VERSION@", _version(source)).replace("@ARCH@", arch)
    text = text.replace("@PYTHON@", python_dependency([target.python for target in targets]))
    control.write_text(text.replace("@SIZE@", str(size // 1024)), encoding="utf-8")


def python_dependency(pythons: Sequence[str]) -> str:
    """For ``Depends``: a system's Python of these versions, and of none between or beyond them."""
    minors = sorted(int(python.removeprefix("3.")) for python in pythons)
    terms = [f"python3 (>= 3.{minors[0]})", f"python3 (<< 3.{minors[-1] + 1})"]
    gaps = [(low + 1, high) for low, high in pairwise(minors) if high > low + 1]
    return ", ".join([*terms, *(f"python3 (<< 3.{low}) | python3 (>= 3.{high})" for low, high in gaps)])


def _level(tree: Path) -> None:
    """Modes and times that do not tell who built it, and when: scripts can be run, all can be read."""
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in (tree, *tree.rglob("*")):
        script = path.is_dir() or path.open("rb").read(2) == b"#!"
        path.chmod(0o755 if script else 0o644)
        os.utime(path, (epoch, epoch))


def _version(source: Path) -> str:
    found = re.search(r'^version = "(.+)"$', (source / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return found.group(1)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout


def _run(*command: str | Path, quiet: bool = False) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL if quiet else None)


if __name__ == "__main__":
    sys.exit(main())
