"""A second guard or policy of one ``run_dir`` is refused, and the first one's spans are left alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jetvla.services.supervisor import Daemons

from .test_policy_process import pictures

PATIENCE_S = 60.0


@pytest.fixture
def config(place: Path, configured: Callable[..., Path]) -> Path:
    pictures(place / "pictures")
    return configured()


def wait(daemons: Daemons, place: Path, words: str) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while words not in (log := (place / "log").read_text()):
        assert not daemons.dead(), log
        assert time.monotonic() < give_up, log
        time.sleep(0.05)


@pytest.fixture
def running(config: Path, place: Path) -> Iterator[Path]:
    """The folder of the spans of a guard and a policy that run."""
    with (place / "log").open("wb") as log, Daemons(config, log=log) as daemons:
        rings = place / "run"
        wait(daemons, place, "connected to the guard")
        yield rings
        assert daemons.dead() is None, (place / "log").read_text()


def second(config: Path, *module: str) -> Any:
    command = [sys.executable, "-m", *module, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def state(rings: Path) -> list[tuple[str, int]]:
    """Every file there but the report, which is written again and again: one that is made anew has another number."""
    return sorted((str(p), p.stat().st_ino) for p in rings.rglob("*") if "status.json" not in p.name)


def test_a_second_one_touches_nothing_of_the_first(running: Path, config: Path, place: Path) -> None:
    before = state(running)
    for name, module in (
        ("guard", ["jetvla.services.guard_daemon"]),
        ("policy", ["jetvla.services.policy_daemon"]),
        ("guard", ["jetvla.services", "run"]),
    ):
        ended = second(config, *module)
        assert ended.returncode == 1
        assert f"another {name} is running with run_dir {running}; stop it first" in ended.stderr
        assert "Traceback" not in ended.stderr
        if "run" in module:
            assert ended.stderr.count("\n") == 1, "neither daemon was started"
    assert state(running) == before
    log = (place / "log").read_text()
    assert log.count("policy connected;") == 1, "the guard has seen nobody else"
    assert log.count("connected to the guard") == 1


def test_the_next_one_starts_after_the_first_was_killed(config: Path, place: Path) -> None:
    for _ in range(2):
        with (place / "log").open("wb") as log, Daemons(config, ("guard",), log) as daemons:
            wait(daemons, place, "guard: memory")
            daemons.processes["guard"].kill()
            daemons.processes["guard"].wait()


def test_a_run_dir_that_cannot_be_made_is_one_line(place: Path, configured: Callable[..., Path]) -> None:
    (place / "file").touch()
    ended = second(configured(run_dir="file/run"), "jetvla.services.guard_daemon")
    assert ended.returncode == 1
    assert "file/run cannot be made: Not a directory" in ended.stderr
    assert "Traceback" not in ended.stderr
