from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetvla.calibration.calibration_file import ActivationRange, CalibrationFile, DataSource, SampleId
from jetvla.runtime.errors import ConfigError

GRAPH, DATA = "a1" * 32, "b2" * 32
Contents = dict[str, Any]


def calibration(**changes: Any) -> CalibrationFile:
    fields: Contents = {
        "policy": "table",
        "graph_sha256": GRAPH,
        "data": DataSource(name="g1-bottle", sha256=DATA, episodes=("episode_0", "episode_1")),
        "selection": "covering",
        "seed": 7,
        "samples": (SampleId(episode="episode_0", step=3), SampleId(episode="episode_1", step=0)),
        "method": "mse",
        "bins": 4096,
        "activations": {
            "whole": ActivationRange(limit=2.0, largest=2.0, count=100),
            "clipped": ActivationRange(limit=0.1, largest=4.0, count=200),
            "zeros": ActivationRange(limit=0.0, largest=0.0, count=50),
        },
        "smooth_alpha": 0.5,
        "smoothing": {"whole": (0.5, 1.0, 1 / 3)},
    }
    return CalibrationFile(**{**fields, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.calibration.json"


def test_what_is_written_is_read_back_exactly(path: Path) -> None:
    written = calibration()
    written.write(path)
    read = CalibrationFile.read(path)
    assert read == written
    assert read.digest == written.digest
    assert list(path.parent.iterdir()) == [path]


def test_the_digest_is_of_the_contents_and_not_of_their_layout(path: Path) -> None:
    calibration().write(path)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=8))
    assert CalibrationFile.read(path).digest == calibration().digest
    assert calibration(seed=8).digest != calibration().digest


def test_writing_replaces_the_file_that_was_there(path: Path) -> None:
    """In one step: whoever has the old file open still reads the old one, whole."""
    calibration(seed=1).write(path)
    old = path.with_name("old.json")
    os.link(path, old)
    calibration(seed=2).write(path)
    assert CalibrationFile.read(path).seed == 2
    assert CalibrationFile.read(old).seed == 1


def test_a_disk_that_is_full_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration(seed=1).write(path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        calibration(seed=2).write(path)
    assert CalibrationFile.read(path).seed == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        calibration().write(tmp_path / "nowhere" / "c.json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="folder cannot be written"):
        calibration().write(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written \(File name too long\)"):
        calibration().write(tmp_path / ("x" * 250))


def test_it_serves_the_graph_it_was_made_of_and_no_other() -> None:
    calibration().check_belongs(GRAPH)
    other = "c3" * 32
    with pytest.raises(ConfigError) as caught:
        calibration().check_belongs(other)
    for part in (GRAPH[:12], other[:12], "table", "make the calibration again"):
        assert part in str(caught.value)


def test_rows_begin_with_what_is_clipped_most() -> None:
    rows = calibration().rows()
    assert [row.activation for row in rows] == ["clipped", "whole", "zeros"]
    assert [row.kept for row in rows] == [pytest.approx(0.025), 1, 1]
    assert rows[0][1:3] == (0.1, 4.0)
    assert rows[0].numbers == 200


def test_the_summary_says_where_the_ranges_came_from() -> None:
    summary = dict(calibration().summary())
    assert summary["samples"] == "2 of 2 episodes, covering, seed 7"
    assert summary["data"] == f"g1-bottle, sha256 {DATA}"
    assert summary["step graph"] == GRAPH
    assert summary["smoothing"] == "alpha 0.5, activations: 1"
    assert summary["digest"] == calibration().digest
    assert dict(calibration(smooth_alpha=None, smoothing={}).summary())["smoothing"] == "no"


def change(*keys: str | int, to: Any) -> Callable[[Contents], None]:
    def apply(contents: Contents) -> None:
        place: Any = contents
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change("schema_version", to=2), "schema_version is 2, and this jetvla reads 1"),
        (lambda contents: contents.pop("schema_version"), "schema_version is None"),
        (change("colour", to="red"), "colour: Extra inputs"),
        (change("activations", "whole", "unit", to="rad"), "activations.whole.unit: Extra inputs"),
        (change("graph_sha256", to="short"), "graph_sha256: String should match"),
        (change("method", to="guess"), "method: Input should be 'mse', 'max', 'percentile' or 'entropy'"),
        (change("selection", to="all"), "selection: Input should be 'covering' or 'uniform'"),
        (change("samples", to=[]), "samples: Tuple should have at least 1 item"),
        (change("samples", 0, "episode", to="episode_9"), "data.episodes does not list: episode_9"),
        (change("samples", 1, to={"episode": "episode_0", "step": 3}), "a sample is listed twice"),
        (change("activations", to={}), "activations: Dictionary should have at least 1 item"),
        (change("activations", "whole", "limit", to=2.5), "limit 2.5 is above the largest value, 2"),
        (change("activations", "whole", "limit", to=float("inf")), "activations.whole.limit: Input should be a finite"),
        (change("activations", "whole", "limit", to=-1.0), "activations.whole.limit: Input should be greater"),
        (change("smoothing", "whole", 1, to=0.0), "smoothing.whole.1: Input should be greater than 0"),
        (change("smooth_alpha", to=None), "smoothing needs smooth_alpha"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_one_clear_line(
    path: Path, damage: Callable[[Contents], None], said: str
) -> None:
    calibration().write(path)
    contents = json.loads(path.read_text())
    damage(contents)
    path.write_text(json.dumps(contents))
    with pytest.raises(ConfigError) as caught:
        CalibrationFile.read(path)
    message = str(caught.value)
    assert said in message
    assert str(path) in message
    assert "make the calibration again" in message
    assert "\n" not in message


def test_a_file_that_is_wrong_all_over_is_not_recited(path: Path) -> None:
    calibration().write(path)
    contents = json.loads(path.read_text())
    contents["activations"] = {f"a{i}": {"limit": 1} for i in range(100)}
    path.write_text(json.dumps(contents))
    with pytest.raises(ConfigError, match="and 195 more") as caught:
        CalibrationFile.read(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe\x00", b"{", b"[]", b"null", b"[" * 100_000, b'{"schema_version": 1}', b"\x00" * 64]
)
def test_a_file_that_is_no_calibration_is_refused(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="make the calibration again"):
        CalibrationFile.read(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path: Path, part: float) -> None:
    calibration().write(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(part * len(raw.rstrip()))])
    with pytest.raises(ConfigError, match="Invalid JSON"):
        CalibrationFile.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"c\.json cannot be read \(No such file"):
        CalibrationFile.read(tmp_path / "c.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        CalibrationFile.read(tmp_path)
