"""``jetvla calibrate inspect`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from jetvla.calibration.episodes import write_episode
from jetvla.runtime.action_spec import ActionSpec
from jetvla.services.cli import main

MEANING = ("--quantity", "joint", "--unit", "rad", "--semantics", "absolute")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    folder.mkdir()
    for episode, sentence in enumerate(("lift [the] cup", "wipe")):
        images = np.zeros((4, 24, 32, 3), np.uint8)
        actions = np.linspace(episode, 3, 8, dtype=np.float32).reshape(4, 2)
        write_episode(folder / f"{episode}.hdf5", images, sentence, actions, actions[:, :1])
    return folder


def test_what_is_printed(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "inspect", str(recorded)]) == 0
    printed = capsys.readouterr().out
    for part in (
        "recorded: 2 episodes, 8 frames",
        "camera image: 32x24",
        "action: 2 numbers",
        "state: 1 numbers",
        "[1]",
    ):
        assert part in printed
    assert "4 frames: lift [the] cup" in printed
    assert "missing: names of the actions: none are recorded" in printed
    assert "missing: frames per second: not recorded" in printed


def test_json(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "inspect", str(recorded), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["episodes"], found["frames"], found["duration_s"]) == (2, 8, None)
    assert found["cameras"] == {"image": {"height": 24, "width": 32}}
    assert found["instructions"] == {"lift [the] cup": 4, "wipe": 4}
    first = np.concatenate([np.linspace(0, 3, 8)[::2], np.linspace(1, 3, 8)[::2]])
    assert found["actions"][0] == {
        "name": "[0]",
        "min": 0.0,
        "max": pytest.approx(first.max()),
        "mean": pytest.approx(first.mean()),
        "std": pytest.approx(first.std()),
    }
    assert len(found["state"]) == 1


def test_picture_and_draft_are_written(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png, spec = tmp_path / "cover.png", tmp_path / "spec.yaml"
    command = ["calibrate", "inspect", str(recorded), "--png", str(png), "--write-action-spec", str(spec), *MEANING]
    assert main(command) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert len(ActionSpec.model_validate(yaml.safe_load(spec.read_text()))) == 2
    assert "action spec, to be checked" in capsys.readouterr().err
    # What a person may have corrected is not overwritten.
    spec.write_text("mine")
    assert main(command) == 1
    assert "exists, and may have been checked" in capsys.readouterr().err
    assert spec.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--write-action-spec", "spec.yaml", "--unit", "rad"], "needs --quantity, --semantics too"),
        (["--png", "no/where/cover.png"], "there is no folder"),
        (
            ["--write-action-spec", "spec.yaml", *MEANING[:2], "--unit", "m/s", *MEANING[4:]],
            "has unit rad or m, not m/s",
        ),
    ],
)
def test_wrong_options_leave_nothing_behind(
    recorded: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["calibrate", "inspect", str(recorded), *options]) == 1
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["recorded"]


def test_bad_recordings_are_an_error_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "inspect", str(tmp_path)]) == 1
    assert "has no episodes" in capsys.readouterr().err
    (tmp_path / "a.hdf5").write_bytes(b"nothing")
    assert main(["calibrate", "inspect", str(tmp_path)]) == 1
    assert "a.hdf5: truncated, or not an HDF5 file" in capsys.readouterr().err
