"""Which source is taken, and what one that is none says."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetvla.runtime.errors import TelemetryError
from jetvla.runtime.telemetry.power import SOURCES, open_power_source
from jetvla.runtime.telemetry.power.tegrastats import PROGRAM


def test_tegrastats_is_taken_where_it_is(orin: Path) -> None:
    program = orin / PROGRAM
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    source = open_power_source(root=orin)
    try:
        assert source.name == "tegrastats"
        assert source.read().throttling is not None
    finally:
        source.close()


def test_sysfs_is_taken_where_tegrastats_is_not(orin: Path) -> None:
    assert open_power_source(root=orin).name == "sysfs"


def test_where_there_is_nothing_the_reading_says_why(tmp_path: Path) -> None:
    source = open_power_source(root=tmp_path)
    reading = source.read()
    source.close()
    assert (source.name, reading.source, reading.rails, reading.throttling) == ("none", "none", (), None)
    assert "usr/bin/tegrastats" in reading.note
    assert "no power sensor" in reading.note


def test_none_can_be_chosen(orin: Path) -> None:
    reading = open_power_source("none", root=orin).read()
    assert (reading.total, reading.note) == (None, "power is not read, because the source 'none' was chosen")


def test_a_source_of_another_name_is_refused() -> None:
    with pytest.raises(TelemetryError, match=f"'jtop'; choose from auto, {', '.join(SOURCES)}"):
        open_power_source("jtop")
