"""Which virtual environments are kept when packages are installed one after the other. Here they are made before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jetvla.services.packaging as packaging

SCRIPT = Path(next(iter(packaging.__path__))) / "files" / "make-venv"
PYTHON = Path("/usr/bin/python3")


class Machine:
    """Where the script finds a package's wheels, and puts what it makes of them."""

    def __init__(self, place: Path) -> None:
        self._lib, self.root, self._script = place / "lib", place / "opt", place / "make-venv"
        text, line = SCRIPT.read_text(), "lib=/usr/lib/jetvla root=/opt/jetvla"
        assert line in text
        self._script.write_text(text.replace(line, f"lib={self._lib} root={self.root}"))
        tag = subprocess.run([PYTHON, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])"], **CAPTURED).stdout
        self._wheels = self._lib / "wheelhouse" / tag.strip()
        self._wheels.mkdir(parents=True)

    def install(self, package: str) -> str:
        """The name of the environment that the package makes."""
        (self._wheels / "requirements.txt").write_text(package)
        name = subprocess.run(
            [
                "sh",
                "-c",
                '{ cat "$0"; /usr/bin/python3 -VV; } | sha256sum | cut -c1-16',
                self._wheels / "requirements.txt",
            ],
            **CAPTURED,
        ).stdout.strip()
        (self.root / "venvs" / name).mkdir(parents=True, exist_ok=True)
        (self.root / "venvs" / name / "complete").touch()
        subprocess.run(["sh", self._script], **CAPTURED)
        return str(name)

    def kept(self) -> set[str]:
        return {path.name for path in (self.root / "venvs").iterdir()}


CAPTURED = {"check": True, "capture_output": True, "text": True}


@pytest.mark.skipif(
    not PYTHON.exists() or shutil.which("sha256sum") is None or sys.platform != "linux", reason="Debian"
)
def test_the_environment_that_processes_may_run_from_is_kept(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first = machine.install("1")
    second = machine.install("2")
    for _ in range(2):
        assert machine.install("2") == second
        assert machine.kept() == {first, second}
        assert (machine.root / "venv").readlink() == Path("venvs") / second
    third = machine.install("3")
    assert machine.kept() == {second, third}
