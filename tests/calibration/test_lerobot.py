"""LeRobot data sets of both versions: what is read, and what is said about bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jetvla.calibration.episodes import open_episodes
from jetvla.calibration.episodes.lerobot_info import Feature
from jetvla.runtime.errors import EpisodeError, MissingDependency

VIDEO = "observation.images.front"
SHARED = Path(__file__).parents[2] / "../shared"
real_data = pytest.mark.skipif(not (SHARED / "data/g1-bottle").is_dir(), reason="no ../shared/data/g1-bottle")


def test_numbers_names_and_sentences(lerobot: Any) -> None:
    episodes = open_episodes(lerobot.root)
    assert [e.name for e in episodes] == ["episode_000000", "episode_000001", "episode_000002"]
    assert [len(e) for e in episodes] == list(lerobot.lengths)
    for number, episode in enumerate(episodes):
        assert (episode.cameras, episode.fps) == (("front", "wrist"), lerobot.fps)
        assert episode.action_names == episode.state_names == lerobot.joints
        actions, state = lerobot.numbers(number)
        np.testing.assert_array_equal(episode.actions, actions)
        np.testing.assert_array_equal(episode.state, state)
    first, second = lerobot.tasks
    assert list(episodes[0].instructions) == [first] * 14
    assert list(episodes[2].instructions) == [first] * 11 + [second] * 10


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_every_image_is_the_one_of_its_step(lerobot: Any, footage: Any, camera: str) -> None:
    for number, episode in enumerate(open_episodes(lerobot.root)):
        steps_of = [range(len(episode)), [0], [len(episode) - 1], [5, 6], [1, 7, 8], range(2, len(episode), 5), []]
        for steps in steps_of:
            images = episode.images(camera, steps)
            # The wrist camera's pictures are negatives of the others.
            seen = [footage.read_stamp(image if camera == "front" else 255 - image) for image in images]
            assert seen == [lerobot.number_of(number, step) for step in steps]


def test_wrong_requests(lerobot: Any) -> None:
    episode = open_episodes(lerobot.root)[1]
    with pytest.raises(EpisodeError, match="episode_000001 has no camera 'rear'; it has front, wrist"):
        episode.images("rear", [0])
    with pytest.raises(IndexError, match="steps 0 to 8, not 9"):
        episode.images("front", [9])


def test_no_file_stays_open(lerobot: Any) -> None:
    before = sorted(p.resolve() for p in Path("/proc/self/fd").iterdir())
    kept = [
        (e, e.actions, next(e.images("front", [3, 4])), next(e.images("wrist", [3])))
        for e in open_episodes(lerobot.root)
    ]
    assert sorted(p.resolve() for p in Path("/proc/self/fd").iterdir()) == before
    assert len(kept) == 3


NAMES: dict[str, tuple[Any, tuple[str, ...] | None]] = {
    "a list": (["a", "b"], ("a", "b")),
    "a list in a list": ([["a", "b"]], ("a", "b")),
    "groups": ({"arm": ["a"], "hand": {"finger": ["b"]}}, ("a", "b")),
    "places": ({"b": 1, "a": 0}, ("a", "b")),
    "none": (None, None),
    "one name for all": (["state"], None),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_as_recorders_write_them(case: str) -> None:
    names, expected = NAMES[case]
    assert Feature(dtype="float32", shape=(2,), names=names).flat_names == expected


def test_one_number_a_step(lerobot_v21: Any, tmp_path: Path) -> None:
    root = lerobot_v21.copy(tmp_path)
    _change_info(root, lambda info: info["features"].update(action={"dtype": "float64", "shape": [1], "names": None}))
    for table in root.glob("data/*/*.parquet"):
        read = pq.read_table(table)
        _set_column(table, "action", pa.array(np.arange(read.num_rows, dtype=np.float64)))
    episode = open_episodes(root)[0]
    np.testing.assert_array_equal(episode.actions, np.arange(14, dtype=np.float32)[:, None])
    assert episode.action_names is None


def test_a_set_without_actions(lerobot: Any, tmp_path: Path) -> None:
    root = lerobot.copy(tmp_path)
    _change_info(root, lambda info: info["features"].pop("action"))
    episode = open_episodes(root)[0]
    assert (episode.actions, episode.action_names) == (None, None)
    assert episode.state is not None


def _change_info(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def _table(root: Path) -> Path:
    return sorted(root.glob("data/*/*.parquet"))[0]


def _video(root: Path) -> Path:
    return sorted(root.glob("videos/**/*.mp4"))[0]


def _set_column(path: Path, name: str, values: Any) -> None:
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(name), name, values), path)


def _not_a_number(root: Path) -> None:
    actions = pq.read_table(_table(root))["action"].to_pylist()
    actions[4][1] = float("nan")
    _set_column(_table(root), "action", pa.array(actions, pa.list_(pa.float32())))


def _other_width(root: Path) -> None:
    rows = pq.read_table(_table(root)).num_rows
    _set_column(_table(root), "action", pa.array([[1.0, 2.0]] * rows, pa.list_(pa.float32())))


def _ragged(root: Path) -> None:
    actions = pq.read_table(_table(root))["action"].to_pylist()
    actions[3] = actions[3][:2]
    _set_column(_table(root), "action", pa.array(actions, pa.list_(pa.float32())))


def _without(name: str) -> Callable[[Path], None]:
    return lambda root: pq.write_table(pq.read_table(_table(root)).drop_columns([name]), _table(root))


def _unknown_task(root: Path) -> None:
    _set_column(_table(root), "task_index", pa.array([9] * pq.read_table(_table(root)).num_rows))


def _cut(path: Callable[[Path], Path], part: float) -> Callable[[Path], None]:
    def cut(root: Path) -> None:
        whole = path(root).read_bytes()
        path(root).write_bytes(whole[: int(len(whole) * part)])

    return cut


def _fewer_rows(root: Path) -> None:
    pq.write_table(pq.read_table(_table(root)).slice(0, 12), _table(root))


def _info(**keys: Any) -> Callable[[Path], None]:
    return lambda root: _change_info(root, lambda info: info.update(keys))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no video": (lambda root: _video(root).unlink(), r"\.mp4 is missing"),
    "no table": (lambda root: _table(root).unlink(), r"\.parquet is missing"),
    "half a video": (_cut(_video, 0.5), r"\.mp4 is truncated, or no video"),
    "half a table": (_cut(_table, 0.5), r"\.parquet is truncated, or no parquet file"),
    "rows missing": (_fewer_rows, "has 12 rows of episode_000000, the metadata says 14"),
    "NaN": (_not_a_number, "episode_000000: 'action' has values that are not finite, first at step 4"),
    "other width": (_other_width, "'action' has rows of 2 numbers; .* says 3"),
    "ragged": (_ragged, "'action' has rows of 2 numbers; .* says 3"),
    "no column": (_without("action"), "has no column action"),
    "no pictures": (_without("observation.images.wrist"), "has no column observation.images.wrist"),
    "no tasks": (_without("task_index"), "has no column task_index"),
    "unknown task": (_unknown_task, "task_index 9 is not in the data set's list"),
    "old version": (
        _info(codebase_version="v2.0"),
        r"'v2.0', supported are v2.1 and v3.0; .*convert_dataset_v20_to_v21",
    ),
    "new version": (_info(codebase_version="v4.0"), r"'v4.0', supported are v2.1 and v3.0"),
    "an episode too few": (_info(total_episodes=4), "says 4 episodes, but 3 are listed"),
    "fps 0": (_info(fps=0), "fps: Input should be greater than 0"),
    "no features": (_info(features=None), "features: Input should be a valid dictionary"),
    "a strange path": (_info(data_path="{nothing}.parquet"), "asks for 'nothing'"),
    "no JSON": (lambda root: (root / "meta/info.json").write_text("{"), "info.json cannot be read"),
    "endless fps": (_info(fps=float("inf")), "fps: Input should be a finite number"),
    "half a character": (_info(codebase_version="\ud800"), "info.json cannot be read"),
    "a gap": (
        lambda root: _set_column(_table(root), "episode_index", pa.nulls(pq.read_table(_table(root)).num_rows)),
        "'episode_index' must be whole numbers without gaps, not null",
    ),
    "a column twice": (
        lambda root: pq.write_table(
            (table := pq.read_table(_table(root))).append_column("action", table["action"]), _table(root)
        ),
        "has two columns of one name",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named(lerobot: Any, tmp_path: Path, case: str) -> None:
    spoil, message = BAD[case]
    root = lerobot.copy(tmp_path)
    spoil(root)
    with pytest.raises(EpisodeError, match=message):
        open_episodes(root)


@pytest.mark.parametrize(
    "row",
    [
        {"task_index": None, "task": "go"},
        {"task_index": "one", "task": "go"},
        {"task_index": 1e999, "task": "go"},
        {"task_index": 0, "task": ["go"]},
        {"task_index": 0, "task": "\ud800"},
        ["task_index", "task"],
    ],
)
def test_a_line_of_other_values_is_named(lerobot_v21: Any, tmp_path: Path, row: Any) -> None:
    root = lerobot_v21.copy(tmp_path)
    with (root / "meta/tasks.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(EpisodeError, match=r"tasks\.jsonl:3 is not a JSON object with task_index \(int\) and task"):
        open_episodes(root)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("episode_index", "one", "'episode_index' has 'one', which is no int"),
        ("length", None, "'length' has None, which is no int"),
        ("data/chunk_index", [0], r"'data/chunk_index' has \[0\], which is no int"),
        (f"videos/{VIDEO}/to_timestamp", float("nan"), "has nan, which is no float"),
    ],
)
def test_a_cell_of_another_kind_is_named(
    lerobot_v30: Any, tmp_path: Path, column: str, value: Any, message: str
) -> None:
    root = lerobot_v30.copy(tmp_path)
    _set_column(root / "meta/episodes/chunk-000/file-000.parquet", column, pa.array([value] * len(lerobot_v30.lengths)))
    with pytest.raises(EpisodeError, match=message):
        open_episodes(root)


def test_a_video_of_another_length(lerobot_v21: Any, footage: Any, tmp_path: Path) -> None:
    root = lerobot_v21.copy(tmp_path)
    footage.write_video(_video(root), [footage.stamped(i) for i in range(13)])
    with pytest.raises(EpisodeError, match=r"episode_000000.mp4 has 13 frames, episode_000000 needs 14"):
        open_episodes(root)


def test_a_shared_video_that_ends_too_early(lerobot_v30: Any, footage: Any, tmp_path: Path) -> None:
    root = lerobot_v30.copy(tmp_path)
    footage.write_video(_video(root), [footage.stamped(i) for i in range(20)])
    with pytest.raises(EpisodeError, match=r"file-000.mp4 has 20 frames, episode_000001 needs 23") as caught:
        open_episodes(root)
    assert "episode_000000" not in str(caught.value)


def test_times_that_are_not_as_long_as_the_episode(lerobot_v30: Any, tmp_path: Path) -> None:
    root = lerobot_v30.copy(tmp_path)
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    _set_column(path, f"videos/{lerobot_v30.video}/to_timestamp", pa.array([1.4, 2.1, 2.1]))
    with pytest.raises(
        EpisodeError, match=r"episode 1 has 9 steps, but .* runs from 1.4 s to 2.1 s, which is 7 frames"
    ):
        open_episodes(root)


def test_every_bad_episode_is_named_at_once(lerobot_v21: Any, tmp_path: Path) -> None:
    root = lerobot_v21.copy(tmp_path)
    _not_a_number(root)
    (root / "videos/chunk-001" / lerobot_v21.video / "episode_000002.mp4").unlink()
    with pytest.raises(EpisodeError) as caught:
        open_episodes(root)
    assert "episode_000000: 'action' has values that are not finite" in str(caught.value)
    assert "episode_000002.mp4 is missing" in str(caught.value)
    assert "episode_000001" not in str(caught.value)


def test_an_empty_set(lerobot_v21: Any, tmp_path: Path) -> None:
    root = lerobot_v21.copy(tmp_path)
    (root / "meta/episodes.jsonl").write_text("")
    _info(total_episodes=0)(root)
    with pytest.raises(EpisodeError, match="has no episodes"):
        open_episodes(root)


def test_damage_inside_a_video_is_found_where_it_is(lerobot: Any, footage: Any, tmp_path: Path) -> None:
    root = lerobot.copy(tmp_path)
    begin, end = footage.packet(_video(root), 9)
    damaged = bytearray(_video(root).read_bytes())
    damaged[begin + 5 : end] = b"\xff" * (end - begin - 5)
    _video(root).write_bytes(damaged)
    episode = open_episodes(root)[0]
    assert [footage.read_stamp(image) for image in episode.images("front", [0, 1])] == [0, 1]
    with pytest.raises(EpisodeError, match=r"\.mp4: the frame at \d\.\d00 s .*ffmpeg"):
        list(episode.images("front", range(14)))


def test_a_video_without_an_index_has_no_beginning(lerobot: Any, tmp_path: Path) -> None:
    root = lerobot.copy(tmp_path)
    _video(root).write_bytes(_video(root).read_bytes().replace(b"stsz", b"free"))
    with pytest.raises(EpisodeError, match=r"\.mp4( has no beginning that can be decoded|: the frame at 0\.000 s)"):
        list(open_episodes(root)[0].images("front", [0]))


def test_a_picture_that_is_none(lerobot_v21: Any, tmp_path: Path) -> None:
    root = lerobot_v21.copy(tmp_path)
    cells = pq.read_table(_table(root))[lerobot_v21.pictures].to_pylist()
    cells[2]["bytes"], cells[3]["bytes"] = b"no picture", None
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    _set_column(_table(root), lerobot_v21.pictures, pa.array(cells, kind))
    episode = open_episodes(root)[0]
    assert len(list(episode.images("wrist", [0, 1, 4]))) == 3
    with pytest.raises(EpisodeError, match=r"'observation.images.wrist' of episode_000000, step 2 cannot be read"):
        list(episode.images("wrist", [2]))
    with pytest.raises(EpisodeError, match="step 3 is no picture in the table; embed"):
        list(episode.images("wrist", [3]))


def test_without_pyarrow(lerobot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match="pip install pyarrow"):
        open_episodes(lerobot.root)


@real_data
def test_real_data_is_the_same_in_both_versions() -> None:
    old, new = (open_episodes(SHARED / "data" / name) for name in ("g1-bottle", "g1-bottle-v3"))
    assert (len(old), len(new), sum(map(len, old))) == (7, 2, 2512)
    for a, b in zip(old, new, strict=False):
        assert (a.name, a.action_names, a.state_names, a.fps) == (b.name, b.action_names, b.state_names, b.fps)
        assert a.action_names is not None
        assert a.action_names[0] == "kLeftShoulderPitch"
        assert list(a.instructions) == list(b.instructions) == ["Pick up the yellow bottle on the table."] * len(a)
        np.testing.assert_array_equal(a.actions, b.actions)
        np.testing.assert_array_equal(a.state, b.state)
        steps = [0, 1, 2, 57, 140, 141, len(a) - 1]
        # The converter copied the frames of the one into the other.
        for x, y in zip(a.images("cam_high", steps), b.images("cam_high", steps), strict=True):
            np.testing.assert_array_equal(x, y)


@real_data
def test_frames_are_those_that_lerobot_decodes() -> None:
    cv2 = pytest.importorskip("cv2")
    expected = np.load(SHARED / "checkpoints/lerobot-act-g1/expected.npz")
    episodes = open_episodes(SHARED / "data/g1-bottle")
    for row in range(0, 40, 3):
        episode, step = episodes[expected["episode_frame"][row, 0]], int(expected["episode_frame"][row, 1])
        (image,) = episode.images("cam_high", [step])
        resized = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)
        # Another PyAV or OpenCV may round otherwise.
        assert np.abs(resized.astype(int) - expected["image"][row]).max() <= 2
        assert episode.state is not None
        np.testing.assert_array_equal(episode.state[step], expected["state"][row])
