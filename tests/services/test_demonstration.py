"""What the demonstration shows, without running it; ``make demo`` runs it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry.status import Status
from jetvla.services.demonstration.report import last_line, stops_line, write_picture
from jetvla.services.demonstration.setting import ZOO, prepare
from jetvla.services.demonstration.trial import Outcome, Trial

pytestmark = [pytest.mark.ros, pytest.mark.build]
COLOURS = ("red", "green", "blue")


def trial(reached: bool, pictures: int = 3) -> Trial:
    images = tuple(np.full((128, 128, 3), 60 * i, np.uint8) for i in range(pictures))
    return Trial("go to the red block", "red", COLOURS, reached, 2.5, 0.01, images)


@pytest.fixture
def outcome() -> Outcome:
    age = {"p50": 10.0, "p90": 11.0, "p99": 12.34, "p99.9": 13.0, "max": 14.0, "count": 500.0}
    status = Status(0, 1, "ARMED", "", "0" * 64, None, "", "", 1, 1, {"age": age}, {}, [])
    trials = (trial(True), trial(False, 5), trial(True))
    return Outcome((trial(False),) * 3, trials, status, 1, 0.0018, 0.0)


def test_the_last_line_counts_what_was_reached(outcome: Outcome) -> None:
    assert last_line(outcome) == ("demo: reached 2 of 3, frame-to-command p99 12.3 ms, int8 action error 0.18 %")
    assert outcome.chance == pytest.approx(1.0)


def test_stops_are_told_and_what_the_host_had_to_do_with_them(outcome: Outcome) -> None:
    log = Path("daemons.log")
    assert stops_line(outcome, log) == ""
    stopped = dataclasses.replace(outcome, armings=3)
    assert stops_line(stopped, log) == (
        "the guard stopped the robot 2 times, and it was armed again; daemons.log says why"
    )
    assert "took 7 s of processor time" in stops_line(dataclasses.replace(stopped, stolen_s=7.2), log)


def test_the_picture_shows_the_attempts_side_by_side(outcome: Outcome, tmp_path: Path) -> None:
    with Image.open(write_picture(outcome, tmp_path)) as picture:
        assert picture.format == "GIF"
        assert picture.width == 3 * 192
        # As long as the longest attempt; equal pictures at the end may be merged.
        assert 3 <= picture.n_frames <= 5  # type: ignore[attr-defined]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(JetvlaError, match="holds something else"):
        prepare(tmp_path, ZOO)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_the_zoo_is_small_and_whole() -> None:
    files = {path.name: path.stat().st_size for path in ZOO.iterdir()}
    assert files.keys() >= {"config.yaml", "model.safetensors", "tokenizer.json", "normalization.json"}
    assert sum(files.values()) < 10e6
