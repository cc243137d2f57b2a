"""The file that a profile is kept in."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from jetvla.runtime.errors import TelemetryError
from jetvla.services.profiling.record import FrameStage, Profile, read_profile

DOCS = Path(__file__).parents[3] / "docs"


def test_a_profile_is_read_as_it_was_written(tmp_path: Path, make_profile: Callable[..., Profile]) -> None:
    made = make_profile(count=40)
    (tmp_path / "a.json").write_text(made.as_json())
    assert read_profile(tmp_path / "a.json") == made


def test_the_example_of_the_documentation_is_a_profile_of_this_version() -> None:
    example = DOCS / "example-profile.json"
    assert read_profile(example).as_json() == example.read_text(encoding="utf-8")


def test_what_did_not_run_is_still_unknown_after_reading(tmp_path: Path, make_profile: Callable[..., Profile]) -> None:
    made = make_profile(count=2)
    made.frames.stages["language"] = FrameStage((math.nan, 1.5), (math.nan, 700.0))
    (tmp_path / "a.json").write_text(made.as_json())
    began = read_profile(tmp_path / "a.json").frames.stages["language"].begin_us
    assert math.isnan(began[0])
    assert began[1] == 1.5


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "no profile of this version"), ("[1", "no JSON file"), ('{"schema": 1, "stages": {}}', "schema")],
)
def test_a_file_that_is_no_profile_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(TelemetryError, match=said) as caught:
        read_profile(path)
    assert str(path) in str(caught.value)


def test_a_wrong_field_is_named(tmp_path: Path, make_profile: Callable[..., Profile]) -> None:
    values = json.loads(make_profile(count=3).as_json())
    values["stages"]["step"]["p99"] = "fast"
    (tmp_path / "a.json").write_text(json.dumps(values))
    with pytest.raises(TelemetryError, match=r"stages\.step\.p99"):
        read_profile(tmp_path / "a.json")
