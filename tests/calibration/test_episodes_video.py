"""Videos and folders of frames as episodes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from jetvla.calibration.episodes import open_episodes
from jetvla.calibration.episodes.decoder import _Frames, frame_times
from jetvla.runtime.errors import EpisodeError, MissingDependency

STEPS = 25
# Container, encoder, pixel format; with and without an index that is read at once, with and without B-frames.
KINDS = {
    ".mp4": ("libx264", "yuv420p"),
    ".mov": ("libx264", "yuv444p"),
    ".mkv": ("libx264", "yuv420p"),
    ".webm": ("libvpx-vp9", "yuv420p"),
    ".avi": ("mjpeg", "yuvj420p"),
}


def write(
    path: Path, footage: Any, codec: str, pixels: str, times: list[int], x264: str = "keyint=7", **options: str
) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        stream.codec_context.thread_count = 1
        stream.options = {"x264-params": x264} if codec == "libx264" else {"g": "7"}
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(footage.stamped(number), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.with_suffix(".txt").write_text("pour the tea\n")
    return path


@pytest.mark.parametrize("suffix", KINDS)
def test_every_frame_of_every_container(tmp_path: Path, footage: Any, suffix: str) -> None:
    path = write(tmp_path / f"tea{suffix}", footage, *KINDS[suffix], list(range(STEPS)))
    (episode,) = open_episodes(path)
    assert (episode.name, len(episode), episode.cameras, episode.fps) == ("tea", STEPS, ("image",), 25)
    assert (episode.actions, episode.state, episode.action_names, episode.state_names) == (None, None, None, None)
    assert list(episode.instructions) == ["pour the tea"] * STEPS
    for steps in (range(STEPS), [0], [STEPS - 1], [6, 7, 8, 22], [20], []):
        assert [footage.read_stamp(image) for image in episode.images("image", steps)] == list(steps)


def test_frames_at_uneven_times(tmp_path: Path, footage: Any) -> None:
    times = [0, 1, 5, 6, 7, 20, 21, 22, 23, 60, 61, 62]
    path = write(tmp_path / "uneven.mkv", footage, "libx264", "yuv420p", times)
    assert [round(time * 25) for time in frame_times(path)] == times
    (episode,) = open_episodes(tmp_path)
    for steps in (range(12), [5, 9], [11]):
        assert [footage.read_stamp(image) for image in episode.images("image", steps)] == list(steps)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_key_frames_that_do_not_stand_alone(tmp_path: Path, footage: Any, suffix: str) -> None:
    # Frames shown before such a key frame, but stored after it, refer to what was before it.
    open_gop = "open-gop=1:bframes=6:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"
    path = write(tmp_path / f"a{suffix}", footage, "libx264", "yuv420p", list(range(40)), open_gop)
    (episode,) = open_episodes(path)
    for steps in ([18], [21, 28], [3, 19, 20, 39], range(40)):
        assert [footage.read_stamp(image) for image in episode.images("image", steps)] == list(steps)


def test_decoding_jumps_over_what_is_not_wanted(tmp_path: Path, footage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mp4", footage, "libx264", "yuv420p", list(range(60)), "keyint=10:scenecut=0")
    (episode,) = open_episodes(path)
    jumps = []
    monkeypatch.setattr(_Frames, "_jump", lambda *a, jump=_Frames._jump: jumps.append(a[1]) or jump(*a))
    list(episode.images("image", range(15)))
    in_a_row = len(jumps)
    list(episode.images("image", [5, 6, 55, 58]))
    assert (in_a_row, len(jumps) - in_a_row) == (2, 2)


def test_a_folder_of_videos_with_a_sentence_per_frame(tmp_path: Path, footage: Any) -> None:
    for name in ("b", "a"):
        write(tmp_path / f"{name}.mp4", footage, "libx264", "yuv420p", list(range(3)))
    (tmp_path / "b.txt").write_text("reach\nreach\nhold\n")
    a, b = open_episodes(tmp_path)
    assert (a.name, b.name) == ("a", "b")
    assert list(b.instructions) == ["reach", "reach", "hold"]
    assert b.instructions[-1] == "hold"
    assert b.instructions[1:] == ["reach", "hold"]


def test_a_truncated_video(tmp_path: Path, footage: Any) -> None:
    # With the index first, the header of what is left looks whole.
    path = write(tmp_path / "a.mp4", footage, "libx264", "yuv420p", list(range(STEPS)), movflags="faststart")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(EpisodeError, match=r"a\.mp4 (is truncated: \d+ of 25|cannot be read to its end)"):
        open_episodes(tmp_path)
    path.write_bytes(whole[:100])
    with pytest.raises(EpisodeError, match=r"a\.mp4 (is truncated, or no video|holds no video).*ffmpeg"):
        open_episodes(tmp_path)


def test_a_damaged_frame_is_named(tmp_path: Path, footage: Any) -> None:
    path = write(tmp_path / "a.mp4", footage, "libx264", "yuv420p", list(range(STEPS)))
    (episode,) = open_episodes(tmp_path)
    begin, end = footage.packet(path, 15)
    damaged = bytearray(path.read_bytes())
    damaged[begin + 5 : end] = b"\xff" * (end - begin - 5)
    path.write_bytes(damaged)
    with pytest.raises(EpisodeError, match=r"a\.mp4: the frame at 0\.\d+ s (cannot be decoded|is damaged|is missing)"):
        list(episode.images("image", range(STEPS)))


def test_what_refers_to_a_damaged_frame_is_damaged(tmp_path: Path, footage: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    path = footage.write_video(tmp_path / "a.mp4", [np.roll(noise, 3 * i, axis=1) for i in range(30)], key_every=10)
    path.with_suffix(".txt").write_text("go")
    (episode,) = open_episodes(tmp_path)
    whole = list(episode.images("image", [5, 25]))
    begin, end = footage.packet(path, 10)
    damaged = bytearray(path.read_bytes())
    middle = (begin + end) // 2
    damaged[middle : middle + 40] = bytes(range(40))
    path.write_bytes(damaged)
    for image, expected in zip(episode.images("image", [5, 25]), whole, strict=True):
        np.testing.assert_array_equal(image, expected)
    with pytest.raises(EpisodeError, match=r"a\.mp4: the frame at 1\.900 s cannot be decoded"):
        list(episode.images("image", [19]))


def test_a_video_that_changed_since(tmp_path: Path, footage: Any) -> None:
    path = write(tmp_path / "a.mp4", footage, "libx264", "yuv420p", list(range(5)))
    (episode,) = open_episodes(tmp_path)
    write(path, footage, "libx264", "yuv420p", list(range(4)))
    with pytest.raises(EpisodeError, match="had 5 frames when it was opened, and has 4 now"):
        list(episode.images("image", [0]))


def test_videos_without_a_sentence_are_all_named(tmp_path: Path, footage: Any) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.mp4", footage, "libx264", "yuv420p", list(range(3))).with_suffix(".txt").unlink()
    (tmp_path / "b.txt").write_text("one\ntwo\n")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(EpisodeError) as caught:
        open_episodes(tmp_path)
    assert "a.txt is missing: write the instruction into it" in str(caught.value)
    assert "b.txt has 2 lines for 3 frames; give one line, or 3" in str(caught.value)
    assert "c.txt cannot be read as UTF-8 text" in str(caught.value)


def test_who_made_a_video_does_not_matter(tmp_path: Path, footage: Any) -> None:
    path = write(tmp_path / "a.mp4", footage, "libx264", "yuv420p", [0, 1])
    whole = path.read_bytes()
    assert b"VideoHandler" in whole
    path.write_bytes(whole.replace(b"VideoHandler", b"\xff" * 12))
    assert len(list(open_episodes(tmp_path)[0].images("image", [0, 1]))) == 2


def test_sound_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(EpisodeError, match=r"a\.mkv holds no video"):
        open_episodes(tmp_path)


def test_two_episodes_of_one_name(tmp_path: Path, footage: Any) -> None:
    for suffix in (".mp4", ".mkv"):
        write(tmp_path / f"a{suffix}", footage, "libx264", "yuv420p", [0, 1])
    with pytest.raises(EpisodeError, match="more than one episode called a; rename one"):
        open_episodes(tmp_path)


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingDependency, match="pip install av"):
        open_episodes(tmp_path)


def save_frames(folder: Path, footage: Any, names: list[str], sentences: str | None = "wipe the table") -> Path:
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(footage.stamped(number)).save(folder / name, quality=95)
    if sentences is not None:
        (folder / "instructions.txt").write_text(sentences)
    return folder


def test_a_folder_of_frames(tmp_path: Path, footage: Any) -> None:
    folder = save_frames(tmp_path / "wipe", footage, ["0.JPG", "1.png", "2.jpeg", "3.bmp", "4.webp"])
    (folder / "notes.md").write_text("mine")
    (episode,) = open_episodes(folder)
    assert (episode.name, len(episode), episode.cameras, episode.fps, episode.actions) == (
        "wipe",
        5,
        ("image",),
        None,
        None,
    )
    assert list(episode.instructions) == ["wipe the table"] * 5
    assert [footage.read_stamp(image) for image in episode.images("image", range(5))] == [0, 1, 2, 3, 4]
    assert [footage.read_stamp(image) for image in episode.images("image", [1, 4])] == [1, 4]


def test_sub_folders_are_episodes(tmp_path: Path, footage: Any) -> None:
    save_frames(tmp_path / "b", footage, ["0.png", "1.png"], "lift\nlower\n")
    save_frames(tmp_path / "a", footage, ["0.png"])
    (tmp_path / "empty").mkdir()
    a, b = open_episodes(tmp_path)
    assert (a.name, b.name, list(b.instructions)) == ("a", "b", ["lift", "lower"])


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        (None, r"instructions\.txt is missing: write the instruction"),
        ("one\ntwo\nthree\n", "has 3 lines for 2 frames; give one line, or 2"),
        ("one\n\n", "line 2 is empty"),
        ("", "line 1 is empty"),
    ],
)
def test_sentences_that_do_not_fit(tmp_path: Path, footage: Any, sentences: str | None, message: str) -> None:
    save_frames(tmp_path / "a", footage, ["0.png", "1.png"], sentences)
    with pytest.raises(EpisodeError, match=message):
        open_episodes(tmp_path)


def test_bad_pictures_are_named(tmp_path: Path, footage: Any) -> None:
    folder = save_frames(tmp_path / "a", footage, ["0.png", "1.png", "2.png", "3.png"])
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:60])
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "2.png")
    (episode,) = open_episodes(tmp_path)
    assert len(list(episode.images("image", [0, 3]))) == 2
    with pytest.raises(EpisodeError, match=r"1\.png cannot be read: .*; replace or remove it"):
        list(episode.images("image", [1]))
    with pytest.raises(EpisodeError, match=r"2\.png is no colour image of 8 bits"):
        list(episode.images("image", [2]))
    (folder / "3.png").unlink()
    with pytest.raises(EpisodeError, match="had 4 images when it was opened, and has 3 now"):
        list(episode.images("image", [0]))


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    Image.fromarray(np.full((4, 6), 70, np.uint8)).save(folder / "0.png")
    Image.fromarray(np.full((4, 6, 4), (10, 20, 30, 255), np.uint8)).save(folder / "1.png")
    (folder / "instructions.txt").write_text("look")
    grey, clear = open_episodes(tmp_path)[0].images("image", [0, 1])
    assert (grey.shape, grey.dtype, set(grey.ravel())) == ((4, 6, 3), np.uint8, {70})
    assert clear[0, 0].tolist() == [10, 20, 30]


def test_nothing_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    for data in (tmp_path, tmp_path / "notes.md"):
        with pytest.raises(EpisodeError, match=r"has no episodes .*(\n.*)*LeRobot .*(\n.*)*instructions\.txt"):
            open_episodes(data)
