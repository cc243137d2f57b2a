"""What is said of a data set: numbers against NumPy's over everything at once, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from jetvla.calibration.action_draft import draft
from jetvla.calibration.coverage import BINS, Coverage, measure
from jetvla.calibration.coverage_picture import COLUMNS, draw, thumbnails
from jetvla.calibration.episodes import open_episodes, write_episode
from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.errors import ConfigError, EpisodeError, MissingDependency

SENTENCES = ("pick", "place", "pick")
LENGTHS = (7, 1, 20)


def actions_of(episode: int) -> np.ndarray:
    values = np.random.default_rng(episode).normal(episode, 1 + episode, (LENGTHS[episode], 4))
    # Far from zero compared with its spread, where sums of squares lose every digit; and one that never moves.
    values[:, 1] = 1000 + values[:, 1] * 1e-2
    values[:, 2] = 0.25
    return values.astype(np.float32)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    folder = tmp_path / "recorded"
    folder.mkdir()
    for episode, steps in enumerate(LENGTHS):
        images = np.full((steps, 12, 20, 3), 40 * episode, np.uint8)
        write_episode(folder / f"{episode}.hdf5", images, SENTENCES[episode], actions_of(episode))
    return folder


def test_statistics_are_those_of_everything_at_once(recorded: Path) -> None:
    coverage = measure(open_episodes(recorded))
    everything = np.concatenate([actions_of(i) for i in range(3)]).astype(np.float64)
    actions = coverage.actions
    assert actions is not None
    np.testing.assert_array_equal(actions.min, everything.min(axis=0))
    np.testing.assert_array_equal(actions.max, everything.max(axis=0))
    np.testing.assert_allclose(actions.mean, everything.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(actions.std, everything.std(axis=0), rtol=1e-9)
    for row in (0, 1, 3):
        expected, _ = np.histogram(everything[:, row], BINS, (actions.min[row], actions.max[row]))
        assert np.abs(actions.histogram[row] - expected).sum() <= 2
    assert actions.histogram.sum(axis=1).tolist() == [28] * 4
    assert actions.still == ("[2]",)


def test_what_is_there_and_what_is_not(recorded: Path) -> None:
    coverage = measure(open_episodes(recorded))
    assert (coverage.episodes, coverage.frames, coverage.duration_s, coverage.fps) == (3, 28, None, ())
    assert coverage.cameras == {"image": (12, 20)}
    assert coverage.instructions == {"pick": 27, "place": 1}
    assert coverage.state is None
    assert coverage.missing == (
        "names of the actions: none are recorded",
        "state: in 0 of 3 episodes",
        "movement: never any of [2]",
        "frames per second: not recorded",
    )


def test_cameras_names_and_duration_of_a_lerobot_set(lerobot: Any) -> None:
    coverage = measure(open_episodes(lerobot.root))
    assert coverage.cameras == {"front": (48, 64), "wrist": (48, 64)}
    assert (coverage.duration_s, coverage.fps) == (pytest.approx(4.4), (10.0,))
    assert coverage.state is not None
    assert coverage.state.names == lerobot.joints
    assert coverage.missing == ()


def test_silence_is_missing_and_one_episode_is_too_few(tmp_path: Path) -> None:
    write_episode(tmp_path / "a.hdf5", np.zeros((3, 4, 4, 3), np.uint8), ["go", "", ""], np.eye(3, dtype=np.float32))
    coverage = measure(open_episodes(tmp_path))
    assert coverage.instructions == {"go": 1}
    assert "instructions: none for 2 frames" in coverage.missing
    assert "a second episode: a build holds episodes out to judge by" in coverage.missing


def test_episodes_of_another_width_are_named(recorded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other/z.hdf5"
    other.parent.mkdir()
    write_episode(other, np.zeros((2, 4, 4, 3), np.uint8), "go", np.zeros((2, 6), np.float32))
    with pytest.raises(EpisodeError, match="z has 6 actions a step, the episodes before 4"):
        measure([*open_episodes(recorded), *open_episodes(other)])


def test_thumbnails_are_spread_over_all_episodes(lerobot: Any, footage: Any) -> None:
    episodes = open_episodes(lerobot.root)
    tiles = thumbnails(episodes, 12)
    frames = [sum(lerobot.lengths[: episodes.index(e)]) + step for e, step, _ in tiles]
    assert (frames[0], frames[-1], len(frames)) == (0, 43, 12)
    assert max(np.diff(frames)) <= 4
    episode, step, tile = tiles[-1]
    number = lerobot.number_of(2, step)
    front, wrist = (np.asarray(Image.fromarray(half).resize((64, 48))) for half in np.split(tile, 2, axis=1))
    assert episode.name == "episode_000002"
    assert (footage.read_stamp(front), footage.read_stamp(255 - wrist)) == (number, number)


def drawn(coverage: Coverage, data: Path, path: Path) -> Image.Image:
    draw(coverage, open_episodes(data), "a title", path)
    return Image.open(path).convert("RGB")


def test_the_picture_shows_the_frames(recorded: Path, tmp_path: Path) -> None:
    picture = drawn(measure(open_episodes(recorded)), recorded, tmp_path / "cover.png")
    colours = {colour: count for count, colour in picture.getcolors(1 << 20) or []}
    # The last episode has most of the tiles, all grey of 80.
    assert colours[(80, 80, 80)] > 10 * (picture.width // COLUMNS // 2) ** 2 / 2
    assert {p.name for p in tmp_path.iterdir()} == {"recorded", "cover.png"}


def test_recordings_without_actions_have_a_picture_too(tmp_path: Path, footage: Any) -> None:
    data = tmp_path / "data"
    data.mkdir()
    Image.fromarray(footage.stamped(1)).save(data / "0.png")
    (data / "instructions.txt").write_text("look $_{ at $ this")
    coverage = measure(open_episodes(data))
    assert coverage.missing[0] == "actions: in 0 of 1 episodes"
    assert drawn(coverage, data, tmp_path / "cover.png").width > 1000


def test_without_matplotlib(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = open_episodes(recorded)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependency, match="pip install matplotlib"):
        draw(measure(episodes), episodes, "", tmp_path / "cover.png")
    assert not (tmp_path / "cover.png").exists()


def test_a_drafted_spec_holds_every_recorded_action(recorded: Path) -> None:
    actions = measure(open_episodes(recorded)).actions
    assert actions is not None
    text = draft(actions, "joint", "rad", "absolute", None, "recorded")
    assert text.startswith("# A DRAFT, to be checked by a person")
    spec = ActionSpec.model_validate(yaml.safe_load(text))
    assert spec.names == ("action_0", "action_1", "action_2", "action_3")
    for row, dimension in enumerate(spec.dimensions):
        assert (dimension.quantity, dimension.unit, dimension.semantics) == ("joint", "rad", "absolute")
        if row == 2:
            assert dimension.range is None
            continue
        assert dimension.range is not None
        assert dimension.range[0] <= actions.min[row] < actions.max[row] <= dimension.range[1]
        assert np.ptp(dimension.range) <= np.ptp([actions.min[row], actions.max[row]]) + 2.1e-4
    assert "never moved: give it a range" in text.splitlines()[-2]


def test_a_draft_that_means_nothing_is_refused(recorded: Path) -> None:
    actions = measure(open_episodes(recorded)).actions
    assert actions is not None
    with pytest.raises(ConfigError, match="a velocity joint has unit rad/s or m/s, not rad"):
        draft(actions, "joint", "rad", "velocity", None, "recorded")
    with pytest.raises(ConfigError, match="need 'rotation'"):
        draft(actions, "angular", "rad", "absolute", None, "recorded")
    assert "rotation: roll_pitch_yaw" in draft(actions, "angular", "rad", "absolute", "roll_pitch_yaw", "recorded")
