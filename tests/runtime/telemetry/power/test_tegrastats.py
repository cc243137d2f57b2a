"""tegrastats as a child: a script in its place writes what a board wrote."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.power import Sampler, open_power_source
from jetvla.runtime.telemetry.power import sampler as sampler_module
from jetvla.runtime.telemetry.power.rail import Rail
from jetvla.runtime.telemetry.power.tegrastats import PROGRAM, Tegrastats

LINE = "RAM 1/2MB CPU [1%@729] tj@40C VDD_IN 5000mW/5000mW"
PATIENCE_S = 60.0

Start = Callable[[str], Tegrastats]


def until(true: Callable[[], object]) -> None:
    """However slow the machine is."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start(tmp_path: Path, clock: FakeClock) -> Iterator[Start]:
    """Start a script in place of tegrastats, in a root without /sys."""
    started: list[Tegrastats] = []

    def begin(script: str) -> Tegrastats:
        program = tmp_path / PROGRAM
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        source = open_power_source("tegrastats", 0.5, clock, tmp_path)
        assert isinstance(source, Tegrastats)
        started.append(source)
        return source

    yield begin
    for source in started:
        source.close()


def test_it_is_asked_for_its_interval_and_the_newest_line_is_read(start: Start) -> None:
    source = start(f'echo "{LINE}"; echo "RAM 1/2MB VDD_IN $2mW/5000mW $1"; exec sleep 600')
    until(lambda: source.read().total == Rail("VDD_IN", 500))
    assert source.read().unparsed == "--interval"
    assert source.broken == 0


def test_before_the_first_line_there_is_a_note_and_no_power(start: Start) -> None:
    reading = start("exec sleep 600").read()
    assert (reading.rails, reading.note) == ((), "tegrastats has not written a line yet")


def test_an_old_line_is_not_a_present_one(start: Start, clock: FakeClock) -> None:
    source = start(f'echo "{LINE}"; exec sleep 600')
    until(lambda: source.read().rails)
    clock.advance(1.9)
    assert source.read().rails
    clock.advance(1.1)
    reading = source.read()
    assert (reading.rails, reading.note) == ((), "tegrastats has been silent for 3.0 s")


def test_a_child_that_ended_gives_no_power_and_its_last_words(start: Start) -> None:
    source = start(f'echo "{LINE}"; echo "cannot open the sensor" >&2; exit 3')
    until(lambda: "ended" in source.read().note and source.broken)
    reading = source.read()
    assert (reading.rails, reading.note) == ((), "tegrastats ended with status 3: cannot open the sensor")


def test_broken_lines_are_counted_and_the_next_good_one_is_taken(start: Start) -> None:
    source = start(f'echo nonsense; printf "\\377\\376\\n"; echo "{LINE}"; exec sleep 600')
    until(lambda: source.read().rails)
    assert source.broken == 2


def test_a_line_without_its_end_is_broken(start: Start) -> None:
    source = start('printf "RAM 1/2MB VDD_IN 500"; exit 0')
    until(lambda: source.broken)
    assert source.read().rails == ()


def test_closing_ends_the_child_even_if_it_will_not(start: Start, tmp_path: Path) -> None:
    source = start(f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done")
    until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text().strip())
    source.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_asked_for_by_name_it_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(TelemetryError, match=r"there is no .*usr/bin/tegrastats, which comes with Jetson Linux"):
        open_power_source("tegrastats", 30.0, root=tmp_path)


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    program = tmp_path / PROGRAM
    program.parent.mkdir(parents=True)
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    with pytest.raises(TelemetryError, match="tegrastats cannot be started: Exec format error"):
        open_power_source("tegrastats", root=tmp_path)


def test_its_first_line_is_waited_for_so_that_energy_has_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler_module, "FIRST_S", PATIENCE_S)
    program = tmp_path / PROGRAM
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nwhile sleep 0.1; do echo "{LINE}"; done\n')
    program.chmod(0o755)
    with closing(open_power_source("tegrastats", root=tmp_path)) as source, Sampler(source, 1.0) as sampler:
        until(lambda: sampler.energy().seconds > 0)
    energy = sampler.energy()
    assert (energy.rail, energy.gaps, energy.mean_watts) == ("VDD_IN", 0, pytest.approx(5))
