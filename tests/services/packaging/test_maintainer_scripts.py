"""What the package's scripts ask of the system, with every program of it stood in for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jetvla.services.packaging.deb import PACKAGING, PYTHONS, python_dependency

UNITS = PACKAGING.parent / "units"
PROGRAMS = ("systemctl", "systemd-sysusers", "systemd-tmpfiles", "deb-systemd-helper", "make-venv")


class Machine:
    """Notes what the scripts call; what is in ``fails`` fails."""

    def __init__(self, place: Path) -> None:
        self._place, self.fails = place, "none"
        (place / "system").mkdir()
        for name in PROGRAMS:
            program = place / name
            program.write_text(
                f'#!/bin/sh\necho "{name} $*" >>{place}/calls\ncase "{name} $*" in *$FAILS*) exit 1 ;; esac\n'
            )
            program.chmod(0o755)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        text = (PACKAGING / "debian" / script).read_text()
        text = text.replace("/run/systemd/system", f"{self._place}/system")
        text = text.replace("/usr/lib/jetvla/make-venv", f"{self._place}/make-venv")
        environment = {"PATH": f"{self._place}:/usr/bin:/bin", "FAILS": self.fails}
        command = ["/bin/sh", "-c", text, script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    def calls(self) -> list[str]:
        return (self._place / "calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_removal_stops_every_service(machine: Machine) -> None:
    machine.run("prerm", "remove")
    (stop,) = machine.calls()
    units = {path.name for kind in ("service", "target") for path in UNITS.glob(f"*.{kind}")}
    assert set(stop.split()[2:]) == units
    assert stop.index("policy") < stop.index("guard")


def test_an_upgrade_tells_to_disarm_and_restart_only_where_it_runs(machine: Machine) -> None:
    said = machine.run("postinst", "configure", "0.1.0").stdout
    assert "jetvla disarm && sudo systemctl restart jetvla.target" in said
    machine.fails = "is-active"
    assert machine.run("postinst", "configure", "0.1.0").stdout == ""
    machine.fails = "none"
    assert machine.run("postinst", "configure", "").stdout == ""


def test_ros_is_looked_for_at_once_and_a_broken_one_stops_no_installation(machine: Machine) -> None:
    machine.fails = "start jetvla-firstboot.service"
    assert "journalctl -u jetvla-firstboot" in machine.run("postinst", "configure", "").stderr
    calls = machine.calls()
    assert calls.index("systemctl start jetvla-firstboot.service") > calls.index("make-venv ")
    assert not any(re.search(r"start jetvla\.target", call) for call in calls), "nothing that moves a robot is started"


@pytest.mark.parametrize(
    ("pythons", "good", "bad"),
    [
        (PYTHONS["arm64"], ("3.10.6-1~22.04.1", "3.12.3-0ubuntu2"), ("3.9.2-3", "3.11.2-1+b1", "3.13.5-1")),
        (PYTHONS["amd64"], ("3.11.2-1+b1",), ("3.10.6-1", "3.12.3-0ubuntu2")),
        (("3.12", "3.10", "3.11"), ("3.10.6", "3.11.2", "3.12.3"), ("3.9.2", "3.13.1")),
    ],
)
@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
def test_it_depends_on_the_pythons_whose_wheels_it_carries(
    pythons: tuple[str, ...], good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    assert [python for python in good + bad if satisfied(python_dependency(pythons), python)] == list(good)


def satisfied(dependency: str, version: str) -> bool:
    """As dpkg compares versions."""

    def holds(term: str) -> bool:
        found = re.fullmatch(r"python3 \((\S+) (\S+)\)", term)
        assert found is not None, term
        relation, bound = found.groups()
        return subprocess.run(["dpkg", "--compare-versions", version, relation, bound], check=False).returncode == 0

    return all(any(map(holds, either.split(" | "))) for either in dependency.split(", "))
