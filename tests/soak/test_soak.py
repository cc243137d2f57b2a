"""The soak in small, and its judge: what it must find."""

from __future__ import annotations

import copy
import functools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from soak_episode import SETUPS, Episode
from soak_judge import Tape, violations

from jetvla.runtime.guard.limits import Limits

SOAK = Path(__file__).with_name("soak.py")


def test_a_short_soak_finds_nothing_and_can_be_gone_on_with() -> None:
    command = [sys.executable, str(SOAK), "--ticks", "2500", "--seed", "5", "--first", "3"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == "2500 ticks, 0 violations"
    published, moving = re.findall(r"(\d+) ticks published a command, (\d+) of them motion", run.stdout)[0]
    assert int(published) >= int(moving) > 500


def test_an_episode_is_the_same_every_time() -> None:
    tapes = []
    for _ in range(2):
        episode = Episode("twist and gripper", np.random.default_rng([1, 2]))
        episode.play(200)
        tapes.append(episode.tape)
    assert tapes[0].t_ns == tapes[1].t_ns
    assert str(tapes[0].values) == str(tapes[1].values)


@functools.cache
def legal(name: str) -> Tape:
    """A tape that moves, and stops for good near its end."""
    for seed in range(50):
        episode = Episode(name, np.random.default_rng([seed, 0]))
        episode.play(300)
        episode.disarm()
        episode.tape.stopped.append(300)
        for _ in range(200):
            episode.go_on()
        told = [k for k in range(50, 299) if episode.tape.values[k] is not None]
        if len(told) > 240 and episode.moving > 150:
            return episode.tape
    raise AssertionError("no seed gives a tape that moves")


@pytest.fixture(params=SETUPS)
def tape(request: pytest.FixtureRequest) -> Tape:
    tape = copy.deepcopy(legal(request.param))
    assert violations(tape) == []
    return tape


def change(tape: Tape, ticks: range, by: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    for k in ticks:
        value = tape.values[k]
        if value is not None:
            tape.values[k] = by(value)
    return violations(tape)


def test_a_number_that_is_none_is_found(tape: Tape) -> None:
    found = change(tape, range(200, 201), lambda v: np.where(np.arange(len(v)) == 0, np.nan, v))
    assert any("not finite" in f for f in found)


def test_one_step_is_found(tape: Tape) -> None:
    assert change(tape, range(200, 201), lambda v: v + 0.004)


def test_a_slow_drift_beyond_the_limits_is_found(tape: Tape) -> None:
    steps = iter(range(1000))
    assert change(tape, range(60, 299), lambda v: v + 0.01 * next(steps))


def test_what_moves_after_a_stop_is_found(tape: Tape) -> None:
    times = tape.t_ns
    late = next(k for k in range(300, 500) if times[k] - times[300] > 10**9) if times[-1] - times[300] > 10**9 else 499
    tape.values[late] = np.full(sum(len(g.columns) for g in tape.groups), 1e-3)
    assert any("stopped" in f or "told to stop" in f for f in violations(tape))


def test_what_is_published_before_arming_is_found(tape: Tape) -> None:
    tape.armed = {k: v for k, v in tape.armed.items() if k > 250} or {499: np.zeros(30)}
    assert any("before it was ever armed" in f for f in violations(tape))


@pytest.mark.parametrize("factor", ["velocity", "acceleration", "deceleration", "jerk"])
def test_a_guard_with_weaker_limits_is_found(monkeypatch: pytest.MonkeyPatch, factor: str) -> None:
    rates = {n: dict.fromkeys([factor], 1.3 * getattr(Limits().rate(n), factor)) for n in ("linear", "joint")}
    original = Limits.from_overrides
    monkeypatch.setattr(Limits, "from_overrides", lambda own: original(own | rates))
    found = []
    for name in ("twist", "26 joints"):
        for seed in range(6):
            episode = Episode(name, np.random.default_rng([seed, 1]))
            episode.play(200)
            found += violations(episode.tape)
    assert any(factor in f for f in found)


def test_a_box_that_is_not_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetvla.runtime.guard.targets.Workspace.must_stop", lambda *_: False)
    monkeypatch.setattr("jetvla.runtime.guard.targets.Workspace.clip", lambda _, target, __: (target, (), False))
    found = []
    for seed in range(12):
        episode = Episode("twist in a box", np.random.default_rng([seed, 1]))
        episode.play(600)
        found += violations(episode.tape)
    assert any("the tool is at" in f for f in found)
