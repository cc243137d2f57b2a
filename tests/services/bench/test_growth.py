"""Curves of growth: an interrupted run goes on, and each axis has a picture and its numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetvla.engines.bench.sizes import act, end_to_end
from jetvla.engines.families.act.settings import ActSettings
from jetvla.runtime.errors import JetvlaError
from jetvla.services.bench.curves import draw, markdown
from jetvla.services.bench.growth import ROUNDS, TITLES, Axis, Case, Point, _policy, cases, grow
from jetvla.services.bench.machine import MachineReport

pytestmark = pytest.mark.build


def point(axis: Axis, value: int) -> Point:
    return Point(axis, value, 2.0 * value, 3.0 * value, 100.0)


class Machine:
    """Measures; ``broken`` ones fail."""

    def __init__(self) -> None:
        self.measured: list[int] = []
        self.broken: set[int] = set()

    def case(self, value: int) -> Case:
        def measure() -> Point:
            if value in self.broken:
                raise JetvlaError("interrupted")
            self.measured.append(value)
            return point("chunk", value)

        return Case("chunk", value, measure)


def test_an_interrupted_run_goes_on_and_a_finished_one_begins_anew(tmp_path: Path) -> None:
    machine, kept = Machine(), tmp_path / "growth.json"
    wanted = [machine.case(value) for value in (1, 50, 100)]
    machine.broken = {50}
    with pytest.raises(JetvlaError, match="interrupted"):
        grow(wanted, kept, lambda _: None)
    machine.broken = set()
    points = grow(wanted, kept, lambda _: None)
    assert machine.measured == [1, 50, 100] * ROUNDS
    assert [(p.turn, p.value) for p in points] == [(turn, value) for turn in range(ROUNDS) for value in (1, 50, 100)]
    assert all(date.fromisoformat(p.day) for p in points)
    grow(wanted, kept, lambda _: None)
    assert machine.measured == [1, 50, 100] * 2 * ROUNDS


def test_a_damaged_file_of_points_is_named(tmp_path: Path) -> None:
    (tmp_path / "growth.json").write_text('[{"axis": "depth"}]', encoding="utf-8")
    with pytest.raises(JetvlaError, match=r"growth\.json"):
        grow([Machine().case(1)], tmp_path / "growth.json", lambda _: None)


def test_builds_without_times_are_kept_too(tmp_path: Path) -> None:
    kept, built = tmp_path / "growth.json", Point("calibration", 64, None, None, 500.0)
    grow([Case("calibration", 64, lambda: built, 1)], kept, lambda _: None)
    machine = Machine()
    points = grow([Case("calibration", 64, lambda: pytest.fail("measured again"), 1), machine.case(1)], kept, str)
    assert [(p.axis, p.memory_mb) for p in points] == [("calibration", 500.0), *[("chunk", 100.0)] * ROUNDS]
    assert points[0].step_ms is None


def test_every_axis_is_measured_at_three_places_or_more(tmp_path: Path) -> None:
    found = cases(tmp_path, tmp_path, tmp_path)
    for axis in TITLES:
        values = [case.value for case in found if case.axis == axis]
        assert len(values) == len(set(values)) >= 3
    assert [c.value for c in found if c.axis == "cameras"] == [1, 2, 3, 4]


def test_the_settings_differ_in_what_their_axis_says() -> None:
    settings = ActSettings.model_validate(act(3, 50))
    assert (len(settings.cameras), settings.horizon) == (3, 50)
    assert end_to_end(192, 12, 64)["text"] == {"max_tokens": 64}


def test_a_policy_is_built_run_and_measured(tmp_path: Path) -> None:
    found = _policy("text", 16, end_to_end(64, 1, 16), tmp_path / "bundles")()
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == ["text-16"]
    assert (found.axis, found.value) == ("text", 16)
    assert found.step_ms is not None
    assert found.age_ms is not None
    assert 0 < found.step_ms < found.age_ms
    assert found.memory_mb > 10


def test_each_axis_has_a_picture_and_its_numbers_in_order(tmp_path: Path) -> None:
    points = [
        point("chunk", 100),
        point("chunk", 1),
        replace(point("chunk", 1), step_ms=4.0),
        Point("calibration", 64, None, None, 500.0),
    ]
    pictures = draw(points, tmp_path / "growth")
    assert [p.name for p in pictures] == ["chunk.png", "calibration.png"]
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.width < 600
            assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 2
    text = markdown(points, pictures, tmp_path / "performance.md", MachineReport.here())
    assert "![chunk](growth/chunk.png)" in text
    first, second = (
        text.index(f"| {TITLES['chunk']} | {value} | {step} |")
        for value, step in ((1, "3.0 (2.0–4.0)"), (100, "200.0"))
    )
    assert first < second
    assert f"| {TITLES['calibration']} | 64 | – | – | 500 |" in text
