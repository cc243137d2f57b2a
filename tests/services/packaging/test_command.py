"""The installed command: its environment, and what of the current directory gets into it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jetvla.services.packaging.deb import PACKAGING
from jetvla.services.program import program

DEFAULTS = """\
# SET=comment
PLAIN=a b ; touch ran
QUOTED="a \\"b\\" \\$c" \n\
SINGLE='a "b"'
EMPTY=
touch ran
$(touch ran)
BAD NAME=1
9=1
LAST=$(touch ran)"""


@pytest.fixture
def shadowed(tmp_path: Path) -> Path:
    """A folder in which somebody put modules that the command imports, and a package of its name."""
    place = tmp_path / "shadowed"
    (place / "jetvla").mkdir(parents=True)
    for name in ("jetvla/__init__", "argparse", "runpy", "platform"):
        (place / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    return place


def installed(place: Path, venv: Path) -> Path:
    """The command on a machine below ``place``."""
    command = place / "command"
    text = (PACKAGING / "files/jetvla").read_text()
    for path, here in {
        "/opt/jetvla/venv": venv,
        "/etc/default/jetvla": place / "default",
        "/var/lib/jetvla/machine.env": place / "machine.env",
    }.items():
        assert path in text
        text = text.replace(path, str(here))
    command.write_text(text)
    command.chmod(0o755)
    return command


def test_nothing_of_the_current_directory_is_run(tmp_path: Path, shadowed: Path) -> None:
    command = [installed(tmp_path, Path(sys.prefix)), "--version"]
    # As sudo leaves it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run(command, cwd=shadowed, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.startswith("jetvla ")


def test_nor_by_a_program_that_it_starts(shadowed: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(program("platform"), cwd=shadowed, env=environment, capture_output=True, text=True, check=True)
    assert "Linux" in ran.stdout
    shadow = subprocess.run([sys.executable, "-m", "platform"], cwd=shadowed, env=environment, check=False)
    assert shadow.returncode != 0, "the module there shadows nothing, so this test shows nothing"


def test_its_environment_is_that_of_systemd_and_no_program(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/jetvla").write_text("#!/bin/sh\nenv -0\n")
    (tmp_path / "bin/jetvla").chmod(0o755)
    (tmp_path / "default").write_text(DEFAULTS)
    (tmp_path / "machine.env").write_text('PYTHONPATH="/opt/ros/a b"\nEMPTY="no"\n')
    command = installed(tmp_path, tmp_path)
    ran = subprocess.run(
        [command], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    found = dict(item.split("=", 1) for item in ran.stdout.split("\0") if "=" in item)
    names = ("PLAIN", "QUOTED", "SINGLE", "EMPTY", "LAST", "PYTHONPATH", "SET", "9")
    assert {name: found[name] for name in names if name in found} == {
        "PLAIN": "a b ; touch ran",
        "QUOTED": 'a "b" $c',
        "SINGLE": 'a "b"',
        "EMPTY": "",
        "LAST": "$(touch ran)",
        "PYTHONPATH": "/opt/ros/a b",
    }
    assert not (tmp_path / "ran").exists()
