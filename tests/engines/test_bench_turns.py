"""Samples in turns: what other processes disturbed is dropped, and a ratio comes with how sure it is."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.engines.bench import turns
from jetvla.engines.bench.ratio import Ratio
from jetvla.engines.bench.turns import take_turns


class Machine:
    """Cores that have been busy for a second whenever a disturbed call was made."""

    def __init__(self) -> None:
        self.busy_s = self.own_s = 0.0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(turns, "_busy_s", lambda: made.busy_s)
    return made


def test_a_sample_in_which_others_took_the_cpu_is_dropped_and_counted(machine: Machine) -> None:
    made = iter(range(100))

    def call() -> int:
        number = next(made)
        machine.busy_s += 1.0 if number % 2 else 0.0
        return number

    (tally,) = take_turns([call], accepted=3, own_s=lambda: machine.own_s)
    assert tally.accepted == [0, 2, 4]
    assert tally.dropped == 2


def test_what_the_measured_processes_took_themselves_is_no_disturbance(machine: Machine) -> None:
    def call() -> str:
        machine.busy_s += 1.0
        machine.own_s += 1.0
        return "sample"

    (tally,) = take_turns([call], accepted=3, own_s=lambda: machine.own_s)
    assert (tally.accepted, tally.dropped) == (["sample"] * 3, 0)


def test_it_gives_up_after_ten_times_as_many_turns(machine: Machine) -> None:
    def call() -> None:
        machine.busy_s += 1.0

    (tally,) = take_turns([call], accepted=3, own_s=lambda: machine.own_s)
    assert (tally.accepted, tally.dropped) == ([], 30)


def test_a_ratio_is_of_medians_and_its_bounds_hold_it() -> None:
    rng = np.random.default_rng(0)
    above, below = rng.normal(3.0, 0.1, 40).tolist(), rng.normal(1.0, 0.1, 40).tolist()
    ratio = Ratio.of([*above, 1e9], below)
    assert ratio.value == pytest.approx(3.0, rel=0.05)
    assert ratio.low < ratio.value < ratio.high
    assert ratio.high - ratio.low < 0.5


def test_a_ratio_of_nothing_is_no_number() -> None:
    assert np.isnan([Ratio.of([], [1.0]).value, Ratio.of([1.0], []).low]).all()
