"""Energy is the area under power; what no reading covers is told, not guessed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.telemetry.power import EnergyMeter, Reading, Sampler
from jetvla.runtime.telemetry.power import sampler as sampling
from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.throttling import Counter, Throttling


def reading(seconds: float, mw: float | None, rail: str = "VDD_IN") -> Reading:
    return Reading(seconds_to_ns(seconds), "fake", rails=() if mw is None else (Rail(rail, mw),))


def metered(*readings: Reading) -> EnergyMeter:
    meter = EnergyMeter(0.1)
    for one in readings:
        meter.add(one)
    return meter


def test_a_constant_power() -> None:
    energy = metered(*(reading(5 + 0.1 * n, 10_000) for n in range(11))).energy()
    assert (energy.rail, energy.gaps) == ("VDD_IN", 0)
    assert energy.joules == pytest.approx(10)
    assert energy.seconds == pytest.approx(1)
    assert energy.millijoules_per_action(20) == pytest.approx(500)


def test_a_ramp_is_its_trapezoid_at_uneven_times() -> None:
    energy = metered(*(reading(t, 1000 * t) for t in (0.0, 0.05, 0.2, 0.25, 0.5))).energy()
    assert energy.joules == pytest.approx(0.5 * 0.5**2)


def test_a_gap_is_told_and_counts_with_the_mean_of_the_rest() -> None:
    energy = metered(reading(0, 4000), reading(0.2, 4000), reading(1.2, 8000), reading(1.4, 8000)).energy()
    assert (energy.gaps, energy.gap_seconds, energy.seconds) == (1, 1.0, pytest.approx(0.4))
    assert energy.joules == pytest.approx(2.4)
    assert energy.millijoules_per_action(14) == pytest.approx(6 * 1.4 * 1000 / 14)


def test_readings_without_power_leave_a_gap() -> None:
    energy = metered(reading(0, 1000), *(reading(0.1 * n, None) for n in range(1, 5)), reading(0.5, 1000)).energy()
    assert (energy.gaps, energy.gap_seconds, energy.joules) == (1, 0.5, 0)
    assert energy.millijoules_per_action(1) is None


@pytest.mark.parametrize("silent", [range(5, 10), range(5)], ids=["at the end", "at the start"])
def test_a_source_that_tells_power_for_half_of_the_time_leaves_the_other_as_a_gap(silent: range) -> None:
    energy = metered(*(reading(0.1 * n, None if n in silent else 1000) for n in range(10))).energy()
    assert (energy.gaps, energy.gap_seconds) == (1, pytest.approx(0.5))
    assert energy.seconds == pytest.approx(0.4)
    assert energy.millijoules_per_action(3) == pytest.approx(300)


def test_power_of_another_total_is_not_mixed_in() -> None:
    energy = metered(
        reading(0, 1000, "VIN"), reading(0.1, 1000, "VIN"), reading(0.2, 9000), reading(0.3, 9000)
    ).energy()
    assert (energy.rail, energy.gaps, energy.joules) == ("VIN", 2, pytest.approx(0.1))


def test_a_reading_that_comes_twice_counts_once() -> None:
    energy = metered(reading(0, 1000), reading(0.1, 1000), reading(0.1, 5000), reading(0.05, 5000)).energy()
    assert energy.joules == pytest.approx(0.1)


def test_without_power_or_actions_there_is_no_energy_per_action() -> None:
    assert metered().energy().millijoules_per_action(5) is None
    assert metered(reading(0, 1000)).energy().mean_watts is None
    assert metered(reading(0, 1000), reading(0.1, 1000)).energy().millijoules_per_action(0) is None


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(0, 1e5)), min_size=2, max_size=30))
def test_energy_lies_between_the_least_and_the_most_power(steps: list[tuple[int, float]]) -> None:
    meter, at = EnergyMeter(0.1), 0
    for milliseconds, mw in steps:
        at += milliseconds
        meter.add(reading(at / 1000, mw))
    energy, powers = meter.energy(), [mw / 1000 for _, mw in steps]
    assert energy.gaps == 0
    assert min(powers) * energy.seconds - 1e-6 <= energy.joules <= max(powers) * energy.seconds + 1e-6


class Played:
    """A source whose readings go on by a tenth of a second; it counts throttling with each.

    Args:
        silent: readings at the start that have no power.
        active: by number of the reading, from 1 on, what lowers a clock then.
    """

    name = "played"
    measures_power = True

    def __init__(self, throttles: bool = True, silent: int = 0, active: Mapping[int, str] | None = None) -> None:
        self._count, self._throttles, self.enough = 0, throttles, threading.Event()
        self._silent, self._active = silent, active or {}

    def read(self) -> Reading:
        self._count += 1
        if self._count > self._silent + 5:
            self.enough.set()
        active = tuple(filter(None, [self._active.get(self._count)]))
        throttling = Throttling(active, (Counter("oc3", self._count),)) if self._throttles else None
        rails = (Rail("VIN", 2000),) if self._count > self._silent else ()
        return Reading(seconds_to_ns(0.1 * self._count), self.name, rails=rails, throttling=throttling)

    def close(self) -> None:
        """Nothing was started."""


def test_a_sampler_measures_beside_what_runs() -> None:
    source = Played()
    with Sampler(source, 0.05) as sampler:
        assert source.enough.wait(60)
    assert sampler.last is not None
    energy, count = sampler.energy(), sampler.last.t_ns // 10**8
    assert count > 5
    assert (energy.joules, energy.gaps) == (pytest.approx(2 * 0.1 * (count - 1)), 0)
    assert sampler.held_back() == (f"oc3 rose by {count - 1}",)


def test_a_sampler_of_a_machine_that_tells_no_throttling_does_not_know() -> None:
    with Sampler(Played(throttles=False)) as sampler:
        pass
    assert sampler.held_back() is None


def test_a_cooling_device_that_lowers_a_clock_in_the_middle_is_told() -> None:
    source = Played(active={3: "gpu-throttle-alert", 4: "cpufreq-0"})
    with Sampler(source, 0.05) as sampler:
        assert source.enough.wait(60)
    held = sampler.held_back()
    assert held is not None
    assert held[:2] == ("gpu-throttle-alert", "cpufreq-0")


def test_a_source_that_needs_a_moment_leaves_no_gap() -> None:
    source = Played(silent=2)
    with Sampler(source, 0.05) as sampler:
        assert source.enough.wait(60)
    assert sampler.last is not None
    energy = sampler.energy()
    assert (energy.gaps, energy.seconds) == (0, pytest.approx(sampler.last.t_ns / 1e9 - 0.3))


def test_power_that_does_not_come_is_waited_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "FIRST_S", 0.25)
    source = Played(silent=8)
    with Sampler(source, 0.05) as sampler:
        assert source.enough.wait(60)
    assert sampler.energy().gaps == 1
    assert sampler.energy().gap_seconds == pytest.approx(0.3)
