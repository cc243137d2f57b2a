"""``jetvla calibrate show`` as a user meets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jetvla.calibration.calibration_file import ActivationRange, CalibrationFile, DataSource, SampleId
from jetvla.services.cli import main


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path / "act.calibration.json"


def write(path: Path, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "policy": "act",
        "graph_sha256": "a1" * 32,
        "data": DataSource(name="g1-bottle", sha256="b2" * 32, episodes=("episode_0", "episode_1")),
        "selection": "covering",
        "seed": 7,
        "samples": [SampleId(episode=f"episode_{e}", step=s) for e, s in ((0, 3), (0, 41), (1, 12))],
        "method": "mse",
        "bins": 4096,
        "activations": {
            "whole": ActivationRange(limit=2.0, largest=2.0, count=600),
            "[red]block 7 MLP[/red]": ActivationRange(limit=1.5, largest=6.0, count=1200),
        },
    }
    CalibrationFile(**{**fields, **changes}).write(path)


def test_it_prints_where_the_ranges_came_from_and_every_range(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(path)
    assert main(["calibrate", "show", str(path)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "policy act" in lines
    assert f"data g1-bottle, sha256 {'b2' * 32}" in lines
    assert "samples 3 of 2 episodes, covering, seed 7" in lines
    assert "steps episode_0: 3 41" in lines
    assert "steps episode_1: 12" in lines
    assert "smoothing no" in lines
    ranges = lines[lines.index("activation limit largest kept numbers") + 1 :]
    # The most clipped one first, and a name is never taken for markup.
    assert ranges == ["[red]block 7 MLP[/red] 1.5 6 25% 1200", "whole 2 2 100% 600"]


def test_smoothing_is_printed_beside_the_range_it_changed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(path, smooth_alpha=0.5, smoothing={"whole": (0.25, 1.0, 8.0)})
    assert main(["calibrate", "show", str(path)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "smoothing alpha 0.5, activations: 1" in printed
    assert "whole 2 2 100% 600 0.25 to 8" in printed


def test_a_file_that_is_wrong_is_one_line_and_exit_code_1(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text('{"schema_version": 2}')
    assert main(["calibrate", "show", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"jetvla calibrate: {path}: schema_version is 2")
    assert captured.err.count("\n") == 1
