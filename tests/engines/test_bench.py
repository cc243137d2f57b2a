"""The benchmark takes its samples in turns, and says how many it dropped."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.engines.bench import turns
from jetvla.engines.bench.turns import Others, Way, error, measure


def test_the_ways_take_turns_until_each_has_enough_samples() -> None:
    calls: list[str] = []

    def way(name: str) -> Way:
        def act(image: np.ndarray) -> np.ndarray:
            assert image.shape == (480, 640, 3)
            calls.append(name)
            return np.ones((1, 7), np.float32)

        return Way(name, act)

    tallies = measure([way("a"), way("b")], accepted=3)
    turns = calls[2:]  # after one warm-up of each
    assert turns[::2] == ["a"] * (len(turns) // 2)
    assert turns[1::2] == ["b"] * (len(turns) // 2)
    for tally in tallies:
        assert len(tally.accepted) + tally.dropped == len(turns) // 2


def test_what_other_programs_used_is_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"busy": 100.0, "own": 7.0, "now": 50.0}
    monkeypatch.setattr(turns, "_busy_s", lambda: clock["busy"])
    monkeypatch.setattr(turns.time, "process_time", lambda: clock["own"])
    monkeypatch.setattr(turns.time, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(turns.os, "cpu_count", lambda: 4)
    others = Others()
    # 20 s on 4 cores: 30 of the 80 seconds were somebody's, and 10 of those our own.
    clock.update(busy=130.0, own=17.0, now=70.0)
    assert others.share() == 0.25
    clock.update(own=40.0)
    assert others.share() == 0


def test_the_error_is_relative_to_the_first_way() -> None:
    truth = Way("truth", lambda image: np.array([[3.0, 4.0]], np.float32))
    off = Way("off", lambda image: np.array([[3.0, 4.5]], np.float32))
    np.testing.assert_allclose(error([truth, off]), [0.0, 0.1], rtol=1e-6)
