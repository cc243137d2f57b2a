"""HDF5 episodes: round trip, laziness, and every way in which a file can be bad."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from jetvla.calibration.episodes import Episode, hdf5, open_episodes, write_episode
from jetvla.calibration.episodes.hdf5 import open_hdf5
from jetvla.runtime.errors import EpisodeError, MissingDependency

STEPS = 5


def _images(steps: int = STEPS) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (steps, 12, 16, 3), np.uint8)


def _actions(steps: int = STEPS) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(steps, 7)).astype(np.float32)


def _seen(episode: Episode, steps: Sequence[int]) -> np.ndarray:
    return np.stack(list(episode.images("image", steps)))


def _write(path: Path, **changed: Any) -> Path:
    parts: dict[str, Any] = {
        "observations/images": _images(),
        "instructions": "pick up the red block",
        "actions": _actions(),
        **changed,
    }
    with h5py.File(path, "w") as file:
        for name, data in parts.items():
            if data is not None:
                file.create_dataset(name, data=data)
    return path


def _read_as_the_course_does(path: Path) -> tuple[np.ndarray, str, np.ndarray]:
    with h5py.File(path, "r") as file:
        return file["observations/images"][:], file["instructions"][()].decode("utf-8"), file["actions"][:]


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_what_is_written_is_read(tmp_path: Path, compression: Any) -> None:
    state = np.linspace(0, 1, STEPS * 2, dtype=np.float32).reshape(STEPS, 2)
    write_episode(tmp_path / "a.hdf5", _images(), "greif den Würfel", _actions(), state, compression)
    (episode,) = open_episodes(tmp_path)
    assert episode.name == "a"
    assert len(episode) == STEPS
    assert list(episode.instructions) == ["greif den Würfel"] * STEPS
    np.testing.assert_array_equal(episode.actions, _actions())
    assert (episode.cameras, episode.action_names, episode.state_names, episode.fps) == (("image",), None, None, None)
    np.testing.assert_array_equal(_seen(episode, [3]), _images()[[3]])
    np.testing.assert_array_equal(_seen(episode, [0, 2, 3]), _images()[[0, 2, 3]])
    np.testing.assert_array_equal(_seen(episode, range(STEPS)), _images())
    assert episode.state is not None
    np.testing.assert_array_equal(episode.state, state)


def test_the_course_can_read_what_is_written(tmp_path: Path) -> None:
    write_episode(tmp_path / "a.hdf5", _images(), "go", _actions())
    images, instruction, actions = _read_as_the_course_does(tmp_path / "a.hdf5")
    np.testing.assert_array_equal(images, _images())
    assert instruction == "go"
    np.testing.assert_array_equal(actions, _actions())


def test_one_sentence_per_step(tmp_path: Path) -> None:
    sentences = [f"step {i}" for i in range(STEPS)]
    write_episode(tmp_path / "many.hdf5", _images(), sentences, _actions())
    _write(tmp_path / "one.hdf5", instructions=["go"])
    many, one = open_episodes(tmp_path)
    assert list(many.instructions) == sentences
    assert list(one.instructions) == ["go"] * STEPS
    assert one.state is None


def test_sorted_by_name_and_other_files_ignored(tmp_path: Path) -> None:
    for name in ("b.hdf5", "c.h5", "a.hdf5"):
        _write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("mine")
    assert [e.name for e in open_episodes(tmp_path)] == ["a", "b", "c"]


def test_nothing_but_sentences_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    write_episode(path, _images(), "go", _actions())
    (episode,) = open_episodes(tmp_path)
    write_episode(path, _images(), "go", 2 * _actions())
    np.testing.assert_array_equal(episode.actions, 2 * _actions())
    assert episode.actions is not None
    assert not episode.actions.flags.writeable
    path.unlink()
    assert len(episode) == len(list(episode.instructions)) == STEPS
    with pytest.raises(EpisodeError, match=r"a\.hdf5"):
        _seen(episode, [0])
    with pytest.raises(EpisodeError, match=r"a\.hdf5 cannot be read"):
        _ = episode.actions


def test_long_runs_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_BLOCK_BYTES", 2 * _images()[0].nbytes)
    episode = open_hdf5(_write(tmp_path / "a.hdf5"))
    for steps in ([0, 1, 2, 3, 4], [0, 1, 2, 4], [1], [0, 2, 4], []):
        images = list(episode.images("image", steps))
        assert len(images) == len(steps)
        for step, image in zip(steps, images, strict=True):
            np.testing.assert_array_equal(image, _images()[step])


@pytest.mark.parametrize("step", [-1, STEPS])
def test_no_image_outside_the_episode(tmp_path: Path, step: int) -> None:
    episode = open_hdf5(_write(tmp_path / "a.hdf5"))
    with pytest.raises(IndexError, match="steps 0 to 4"):
        episode.images("image", [step])
    with pytest.raises(ValueError, match="ascend"):
        episode.images("image", [2, 1])
    with pytest.raises(EpisodeError, match="no camera 'wrist'; it has image"):
        episode.images("wrist", [0])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no images": ({"observations/images": None}, "'observations/images' is missing"),
    "no instruction": ({"instructions": None}, "'instructions' is missing"),
    "no actions": ({"actions": None}, "'actions' is missing"),
    "float images": ({"observations/images": _images().astype(np.float32)}, "uint8 .* not float32"),
    "grey images": ({"observations/images": _images()[..., :1]}, "uint8 .* not uint8"),
    "float64 actions": ({"actions": _actions().astype(np.float64)}, "float32 .* not float64"),
    "flat actions": ({"actions": _actions()[:, 0]}, "float32"),
    "short actions": ({"actions": _actions(4)}, "has 4 steps but 'observations/images' has 5"),
    "nan actions": ({"actions": np.full((STEPS, 7), np.nan, np.float32)}, "not finite, first at step 0"),
    "no steps": ({"observations/images": _images(0)}, "has no step"),
    "short state": ({"observations/state": _actions(3)}, "'observations/state' has 3 steps"),
    "three sentences": ({"instructions": ["a", "b", "c"]}, "3 sentences for 5 steps"),
    "endless sentences": ({"instructions": h5py.Empty("S1")}, "sentences for 5 steps"),
    "numbers for words": ({"instructions": 7}, "UTF-8 string"),
    "not UTF-8": ({"instructions": np.bytes_(b"\xff\xfe")}, "not UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_contents_are_named(tmp_path: Path, case: str) -> None:
    changed, message = BAD[case]
    path = _write(tmp_path / "bad.hdf5", **changed)
    with pytest.raises(EpisodeError, match=message) as caught:
        open_hdf5(path)
    assert "bad.hdf5" in str(caught.value)


def test_every_bad_file_is_named_at_once(tmp_path: Path) -> None:
    _write(tmp_path / "a.hdf5", actions=None)
    _write(tmp_path / "b.hdf5")
    whole = (tmp_path / "b.hdf5").read_bytes()
    (tmp_path / "c.hdf5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "d.hdf5").write_bytes(b"not at all")
    with pytest.raises(EpisodeError) as caught:
        open_episodes(tmp_path)
    message = str(caught.value)
    assert "a.hdf5: dataset 'actions' is missing" in message
    assert "c.hdf5: truncated" in message
    assert "d.hdf5: truncated, or not an HDF5 file" in message
    assert "b.hdf5" not in message


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    write_episode(path, _images(), "go", _actions(), compression="gzip")
    with h5py.File(path, "r") as file:
        chunk = file["observations/images"].id.get_chunk_info(2)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(bytes(chunk.size))
    (episode,) = open_episodes(tmp_path)
    np.testing.assert_array_equal(_seen(episode, [1]), _images()[[1]])
    with pytest.raises(EpisodeError, match="images 2 to 2 cannot be read"):
        _seen(episode, [2])


def test_what_the_library_stumbles_over_is_damage(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.hdf5")
    # The data type of a string of variable length, with the character set 1 (UTF-8); there is no 2.
    utf8, none = b"\x19\x01\x01\x00", b"\x19\x01\x02\x00"
    assert utf8 in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(utf8, none))
    with pytest.raises(EpisodeError, match=r"a\.hdf5 is damaged: .*string encoding"):
        open_episodes(tmp_path)


def test_more_numbers_than_there_is_memory_for(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.hdf5")
    with h5py.File(path, "r+") as file:
        for name, width in (("observations/images", (4, 4, 3)), ("actions", (7,))):
            kind = file[name].dtype
            del file[name]
            file.create_dataset(name, (1 << 50, *width), kind, chunks=(1, *width))
    with pytest.raises(EpisodeError, match=r"a\.hdf5: 'actions' cannot be read: Unable to allocate"):
        open_episodes(tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "a.hdf5").rename(tmp_path / os.fsdecode(b"\xff.hdf5"))
    with pytest.raises(EpisodeError, match=r"an episode's name is not UTF-8: '.udcff'; rename it"):
        open_episodes(tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(EpisodeError, match=rf"{tmp_path} cannot be read: Permission denied; give this user access"):
        open_episodes(tmp_path)


def test_no_episodes(tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match="has no episodes"):
        open_episodes(tmp_path)
    with pytest.raises(EpisodeError, match="nowhere does not exist"):
        open_episodes(tmp_path / "nowhere")


UNWRITABLE: dict[str, tuple[Callable[[], tuple[Any, ...]], str]] = {
    "float images": (lambda: (_images() / 255, "go", _actions()), "images must be uint8"),
    "no steps": (lambda: (_images(0), "go", _actions(0)), "images must be uint8"),
    "actions too short": (lambda: (_images(), "go", _actions(2)), r"actions must be float32 \[5, D\]"),
    "double actions": (lambda: (_images(), "go", _actions().astype(float)), "not float64"),
    "infinite actions": (lambda: (_images(), "go", _actions() / np.float32(0)), "not finite"),
    "two sentences": (lambda: (_images(), ["a", "b"], _actions()), "2 sentences for 5 steps"),
    "state too long": (lambda: (_images(), "go", _actions(), _actions(6)), "state must be float32"),
}


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("case", UNWRITABLE)
def test_bad_arrays_are_not_written(tmp_path: Path, case: str) -> None:
    parts, message = UNWRITABLE[case]
    with pytest.raises(EpisodeError, match=message):
        write_episode(tmp_path / "a.hdf5", *parts())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.hdf5"
    write_episode(path, _images(), "old", _actions())
    before = path.read_bytes()

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(h5py.File, "create_dataset", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_episode(path, _images(), "new", _actions())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "a.hdf5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingDependency, match="pip install h5py"):
        open_episodes(tmp_path)
