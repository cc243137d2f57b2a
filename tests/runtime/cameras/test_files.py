"""Video files and image folders, real ones made here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from jetvla.runtime.cameras import Camera, CameraEnded, open_camera
from jetvla.runtime.clock import FakeClock
from jetvla.runtime.config import FramesCamera, VideoCamera
from jetvla.runtime.errors import CameraError

HEIGHT, WIDTH, COUNT, FPS = 48, 72, 12, 30


def picture(number: int) -> NDArray[np.uint8]:
    """Left half red, right half a grey that tells the number."""
    image = np.full((HEIGHT, WIDTH, 3), 10 + 20 * number, np.uint8)
    image[:, : WIDTH // 2] = (200, 30, 30)
    return image


def write_video(path: Path, codec: str, times: list[int] | None = None) -> Path:
    # As root, SVT-AV1 makes the thread that calls it a real-time one: let that be one which ends.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(_encode, path, codec, times).result()


def _encode(path: Path, codec: str, times: list[int] | None) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = number if times is None else times[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_folder(path: Path, suffix: str = ".png") -> Path:
    path.mkdir()
    for number in range(COUNT):
        Image.fromarray(picture(number)).save(path / f"frame{number:04d}{suffix}")
    (path / "notes.txt").write_text("not an image")
    return path


def video(path: Path, clock: FakeClock | None = None, loop: bool = False) -> Camera:
    return open_camera("front", VideoCamera(kind="video", path=path, loop=loop), clock or FakeClock())


def frames(path: Path, fps: float = 10.0, loop: bool = False) -> Camera:
    return open_camera("front", FramesCamera(kind="frames", path=path, fps=fps, loop=loop), FakeClock())


def numbers(camera: Camera, count: int) -> list[int]:
    """The number that each frame shows, read from its grey half."""
    return [round((float(camera.read(1.0).image[8:40, 48:64].mean()) - 10) / 20) for _ in range(count)]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "libsvtav1"])
def test_a_video_plays_in_colour_and_in_order(tmp_path: Path, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV cannot encode {codec}")
    camera = video(write_video(tmp_path / "video.mp4", codec))
    first = camera.read(1.0)
    assert first.image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(first.image[8:40, 8:28].mean(axis=(0, 1)) - (200, 30, 30)).max() < 25
    assert numbers(camera, COUNT - 1) == list(range(1, COUNT))
    with pytest.raises(CameraEnded):
        camera.read(1.0)


def test_capture_times_are_the_start_plus_the_presentation_times(tmp_path: Path) -> None:
    times = [3, 4, 5, 9, 10, 11, 12, 20, 21, 22, 23, 40]
    clock = FakeClock()
    camera = video(write_video(tmp_path / "video.mp4", "mpeg4", times), clock)
    start_ns = clock.now_ns()
    got = [camera.read(2.0).t_ns - start_ns for _ in range(COUNT)]
    assert np.allclose(got, [(t - 3) * 1e9 / FPS for t in times], atol=1e5)


def test_a_looped_video_goes_on(tmp_path: Path) -> None:
    camera = video(write_video(tmp_path / "video.mp4", "mpeg4"), loop=True)
    assert numbers(camera, COUNT + 3) == [*range(COUNT), 0, 1, 2]


@pytest.mark.parametrize("keep", [0, 200])
def test_a_broken_video_is_named(tmp_path: Path, keep: int) -> None:
    path = write_video(tmp_path / "video.mp4", "mpeg4")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CameraError, match=r"video\.mp4 cannot be played"):
        video(path)


@pytest.mark.parametrize(("name", "codec"), [("v.mp4", "mpeg4"), ("v.avi", "libx264"), ("v.mp4", "libsvtav1")])
def test_whatever_is_damaged_the_error_names_the_file(tmp_path: Path, name: str, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV cannot encode {codec}")
    whole = write_video(tmp_path / name, codec).read_bytes()
    outcomes = set()
    for start in range(0, len(whole), len(whole) // 25):
        for broken in (whole[:start], whole[:start] + bytes(300) + whole[start + 300 :]):
            (tmp_path / name).write_bytes(broken)
            with pytest.raises(CameraError) as error:
                numbers(video(tmp_path / name), COUNT + 1)
            outcomes.add(error.type)
            assert error.type is CameraEnded or name in str(error.value)
    assert CameraError in outcomes


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"gone\.mp4 cannot be played.*check the file"):
        video(tmp_path / "gone.mp4")


def test_a_file_without_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(CameraError, match=r"sound\.wav holds no video"):
        video(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".BMP"])
def test_a_folder_plays_by_name_at_its_rate(tmp_path: Path, suffix: str) -> None:
    camera = frames(write_folder(tmp_path / "images", suffix), fps=10.0)
    first = camera.read(1.0)
    assert np.abs(first.image[8:40, 8:28].mean(axis=(0, 1)) - (200, 30, 30)).max() < 10
    second = camera.read(1.0)
    assert second.t_ns - first.t_ns == 100_000_000
    assert numbers(camera, COUNT - 2) == list(range(2, COUNT))


def test_grey_images_become_rgb(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("L", (8, 6), 77).save(tmp_path / "images" / "a.png")
    image = frames(tmp_path / "images").read(1.0).image
    assert image.shape == (6, 8, 3)
    assert (image == 77).all()


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "images")
    (folder / "frame0001.png").write_bytes((folder / "frame0001.png").read_bytes()[:60])
    camera = frames(folder)
    camera.read(1.0)
    with pytest.raises(CameraError, match=r"frame0001\.png cannot be read"):
        camera.read(1.0)


def test_an_empty_or_missing_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CameraError, match="empty holds no image"):
        frames(tmp_path / "empty")
    with pytest.raises(CameraError, match="gone is not a folder"):
        frames(tmp_path / "gone")
