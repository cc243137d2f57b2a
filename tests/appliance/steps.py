"""What is done to the machine again and again, and what is seen of it."""

from __future__ import annotations

import time
from pathlib import Path

from .machine import GUARD, POLICY, ROBOT, Machine, until

CONFIG_PLACE = Path("etc/jetvla/jetvla.yaml")
ENGINES = Path("var/cache/jetvla/engines")
ENTRY = "entry.json"
CURRENT = Path("var/lib/jetvla/bundles/current")
# The guard's own time from a lost link to rest is judged by tests/faults; here only that it came to rest at all.
REST_S = 20.0
STEADY_S = 0.3


def up(machine: Machine) -> None:
    """Both daemons run, and a robot with a camera."""
    for unit in (GUARD, POLICY):
        until(lambda unit=unit: machine.is_active(unit), f"{unit} is active")
    machine.run("systemctl", "start", ROBOT)
    machine.favour(GUARD)


def moving(machine: Machine) -> bool:
    """The robot has had nothing but motion for a while."""
    latest = machine.commands(time.monotonic_ns() - round(STEADY_S * 1e9))
    return bool(latest) and all(any(values) for _, values in latest)


def arm(machine: Machine) -> None:
    """Arm until the robot moves; other load on this machine may make the guard stop it again."""

    def attempt() -> bool:
        state = machine.status().get("state")
        if state == "LATCHED":
            machine.run("jetvla", "reset")
        elif state != "ARMED":
            machine.succeeds("jetvla", "arm", "--wait", "10", "--timeout", "60")
        return state == "ARMED" and moving(machine)

    up(machine)
    until(attempt, "the robot is armed and moves", 300)


def rest(machine: Machine, since_ns: int) -> float:
    """Seconds from then to the first of the zeros that the robot's last commands are."""

    def found() -> int | None:
        commands = machine.commands(since_ns)
        still = [t_ns for t_ns, values in reversed(commands) if not any(values)]
        if not commands or any(commands[-1][1]) or not still:
            return None
        moved = [t_ns for t_ns, values in commands if any(values)]
        return next(t_ns for t_ns in reversed(still) if not moved or t_ns > moved[-1])

    return (until(found, "the robot is commanded to rest", REST_S) - since_ns) / 1e9


def engines(machine: Machine) -> dict[str, int]:
    """Name and inode of every engine that is whole."""
    return {entry.parent.name: entry.stat().st_ino for entry in (machine.root / ENGINES).glob(f"[!.]*/{ENTRY}")}
