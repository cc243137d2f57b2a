"""The engine alone: paced as the policy's loop is, ended by the clock, and told with what it really took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jetvla.runtime.clock import FakeClock, MonotonicClock, seconds_to_ns
from jetvla.runtime.telemetry.power import Reading
from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.throttling import Throttling
from jetvla.services.cli import main
from jetvla.services.profiling import measurement, power
from jetvla.services.profiling.collector import Misses
from jetvla.services.profiling.comparison import compare
from jetvla.services.profiling.engine import STEP, EngineProcess, EngineRun, Pace, run_at
from jetvla.services.profiling.record import MAX_SAMPLES, BackToBack, PowerFigures, Profile, read_profile
from jetvla.services.profiling.wording import energy, said


class Steps:
    """Each takes the next of these seconds, and the last one for ever."""

    def __init__(self, clock: FakeClock, *seconds: float) -> None:
        self._clock, self._seconds = clock, list(seconds)
        self.began: list[float] = []

    def __call__(self) -> int:
        took = self._seconds.pop(0) if len(self._seconds) > 1 else self._seconds[0]
        self.began.append(self._clock.now_ns() / 1e9 - 1)
        self._clock.advance(took)
        return seconds_to_ns(took)


def run(pace: Pace, *seconds: float) -> tuple[EngineRun, list[float]]:
    clock = FakeClock()
    steps = Steps(clock, *seconds)
    return run_at(steps, lambda: None, pace, clock), steps.began


def test_a_step_that_is_too_slow_for_its_rate_runs_at_its_own() -> None:
    found, began = run(Pace(1.0, 30.0), 0.1)
    assert found.seconds == pytest.approx(1.0)
    assert found.stages[STEP].count == len(began) == 10


def test_misses_are_counted_among_all_steps_and_not_only_those_that_are_kept() -> None:
    clock = FakeClock()
    slow = [0.02] * 500
    found = run_at(Steps(clock, *slow, 0.001), lambda: None, Pace(20.0, None), clock, seconds_to_ns(0.01))
    assert found.stages[STEP].count > MAX_SAMPLES + 500
    assert found.misses == Misses(500, found.stages[STEP].count)


def test_a_step_that_is_fast_enough_runs_at_the_rate() -> None:
    found, began = run(Pace(1.0, 20.0), 0.01)
    assert began == pytest.approx([0.05 * n for n in range(20)])
    assert found.seconds == pytest.approx(1.0)


def test_after_a_stall_the_schedule_starts_anew_without_a_burst() -> None:
    _, began = run(Pace(2.0, 10.0), 0.01, 1.0, 0.01)
    assert began[:6] == pytest.approx([0.0, 0.1, 1.1, 1.11, 1.2, 1.3])
    assert len(began) == 12


def test_back_to_back_there_is_no_pause_and_the_last_step_is_in_the_time() -> None:
    found, began = run(Pace(1.0, None), 0.3)
    assert began == pytest.approx([0.0, 0.3, 0.6, 0.9])
    assert found.seconds == pytest.approx(1.2)


class TenWatts:
    """A machine that takes ten watts, whoever asks."""

    name = "ten watts"
    measures_power = True

    def read(self) -> Reading:
        return Reading(MonotonicClock().now_ns(), self.name, rails=(Rail("VIN", 10_000),))

    def close(self) -> None:
        """Nothing was started."""


def test_each_half_has_its_own_steps_seconds_and_energy(
    signed_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Start of the process, verification, opening and warm-up are in neither."""
    opened: list[str] = []
    monkeypatch.setattr(power, "open_power_source", TenWatts)
    real = EngineProcess.__init__

    def opening(self: EngineProcess, *arguments: object) -> None:
        real(self, *arguments)  # type: ignore[arg-type]
        opened.append("engine")

    monkeypatch.setattr(EngineProcess, "__init__", opening)
    monkeypatch.setattr(measurement.PowerMeter, "__enter__", noting(opened))
    figures = signed_bundle.parent / "engine.json"
    words = ["profile", str(signed_bundle), "--trusted", str(signed_bundle.parent / "keys"), "--engine-only"]
    assert main([*words, "--seconds", "2", "--rate", "5", "--json", str(figures)]) == 0
    assert opened == ["engine", "power", "power"]
    made = read_profile(figures)
    other = made.back_to_back
    assert other is not None
    for seconds, rate_hz, name, told in (
        (made.seconds, made.rate_hz, "step", made.power),
        (other.seconds, other.rate_hz, "step, back to back", other.power),
    ):
        assert seconds >= 1
        assert rate_hz == pytest.approx(made.stages[name].count / seconds)
        assert told.actions == made.stages[name].count
        assert told.watts == pytest.approx(10)
        assert told.millijoules_per_action is not None
        assert told.millijoules_per_action * told.actions / 1e4 == pytest.approx(seconds, rel=0.5)
        assert told.millijoules_per_action * told.actions / 1e4 >= seconds * 0.99
    assert made.rate_hz <= 5.1
    assert other.rate_hz > made.rate_hz
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{other.rate_hz:.1f} steps/s for {other.seconds:.1f} s" in shown


class Throttles(TenWatts):
    """It lowers a clock for a moment: neither at the first reading nor at the last one."""

    reads = 0

    def read(self) -> Reading:
        Throttles.reads += 1
        active = ("gpu-throttle-alert",) if Throttles.reads == 3 else ()
        return replace(super().read(), throttling=Throttling(active))


def test_throttling_in_the_middle_of_a_run_is_told_and_a_comparison_warns(
    make_profile: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Throttles, "reads", 0)
    monkeypatch.setattr(power, "open_power_source", Throttles)
    with power.PowerMeter() as meter:
        give_up = time.monotonic() + 60
        while Throttles.reads < 4:
            assert time.monotonic() < give_up
            time.sleep(0.01)
    made = make_profile()
    held = replace(made, power=meter.figures(1))
    assert compare(made, held).warnings == ("the newer measurement was held back by gpu-throttle-alert",)


def noting(opened: list[str]) -> Callable[[power.PowerMeter], power.PowerMeter]:
    real = power.PowerMeter.__enter__

    def enter(self: power.PowerMeter) -> power.PowerMeter:
        opened.append("power")
        return real(self)

    return enter


def test_a_comparison_takes_each_half_by_its_own_seconds(make_profile: Callable[..., Profile]) -> None:
    made = make_profile(mode="engine")
    halved = replace(made, back_to_back=BackToBack(7.0, 100.0, made.power))
    assert halved.seconds_of("step, GPU, back to back") == 7.0
    assert halved.seconds_of("step, GPU") == made.seconds_of("step, back to back") == made.seconds
    assert dict(said(halved))["back to back"] == "100.0 steps/s for 7.0 s; energy: 173 mJ per action (VDD_IN, 5.2 W)"


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"note": "there is no sensor"}, "there is no sensor"),
        ({}, "of the rails that the board shows none is known to be the whole"),
        ({"rail": "VIN", "watts": 9.0}, "nothing was done, at 9.0 W (VIN)"),
        ({"rail": "VIN"}, "power was read too seldom, or too late"),
    ],
)
def test_why_no_energy_is_known_is_said(told: dict[str, object], why: str) -> None:
    unknown = PowerFigures("", None, None, 0, 0, None, "")
    assert energy(replace(unknown, **told)) == f"not known: {why}"  # type: ignore[arg-type]
