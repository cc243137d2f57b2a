from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jetvla.calibration.episodes import Episode, open_episodes, write_episode
from jetvla.calibration.episodes.twins import twins

STEPS = 3


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two episodes, ``a`` and ``b``."""
    folder, rng = tmp_path / "set", np.random.default_rng(0)
    folder.mkdir()
    for name in ("a", "b"):
        images = rng.integers(0, 256, (STEPS, 8, 8, 3), np.uint8)
        write_episode(folder / f"{name}.hdf5", images, "go", rng.normal(size=(STEPS, 2)).astype(np.float32))
    return folder


def found(ones: Path, others: Path) -> list[tuple[str, str]]:
    return twins(open_episodes(ones), open_episodes(others))


def test_a_copy_of_another_name_is_the_same_episode(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(recorded / "b.hdf5", tmp_path / "other" / "c.hdf5")
    assert found(recorded, tmp_path / "other") == [("b", "c")]
    assert found(recorded, recorded) == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize("other", ["actions", "sentence", "image", "state"])
def test_what_differs_is_another_episode_whatever_it_is_called(recorded: Path, tmp_path: Path, other: str) -> None:
    (episode, _) = open_episodes(recorded)
    actions = np.array(episode.actions)
    images = np.stack(list(episode.images("image", range(STEPS))))
    actions[1, 1] += other == "actions"
    images[0, 0, 0, 0] ^= other == "image"
    state = actions if other == "state" else None
    (tmp_path / "other").mkdir()
    write_episode(tmp_path / "other/a.hdf5", images, "stop" if other == "sentence" else "go", actions, state)
    assert found(recorded, tmp_path / "other") == []


def test_without_numbers_the_first_image_decides(tmp_path: Path) -> None:
    def frames(name: str, shade: int) -> list[Episode]:
        folder = tmp_path / name / "frames"
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8), (shade, shade, shade)).save(folder / "0.png")
        (folder / "instructions.txt").write_text("go")
        return open_episodes(tmp_path / name)

    dark, same, light = frames("dark", 10), frames("same", 10), frames("light", 200)
    assert twins(dark, same) == [("frames", "frames")]
    assert twins(dark, light) == []
