"""Small LeRobot data sets of both versions, and videos whose every frame says which one it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

FPS, BITS, BLOCK = 10, 12, 16
LENGTHS = (14, 9, 21)
TASKS = ("pick up the cup", "put it down")
JOINTS = ("shoulder", "elbow", "grip")
VIDEO, PICTURES = "observation.images.front", "observation.images.wrist"


def stamped(number: int) -> np.ndarray:
    """uint8 [48, 64, 3] that shows ``number`` as white and black blocks, which survive any encoder."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)]).reshape(3, 4)
    grey = np.kron(bits, np.ones((BLOCK, BLOCK))) * 200 + 30
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def read_stamp(image: np.ndarray) -> int:
    """The number that :func:`stamped` wrote."""
    assert image.shape == (48, 64, 3)
    centres = image[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK, 1].ravel() > 128
    return int(sum(1 << bit for bit, white in enumerate(centres) if white))


def write_video(path: Path, frames: Sequence[np.ndarray], fps: int = FPS, key_every: int = 6) -> Path:
    """H.264 with B-frames, a key frame every ``key_every`` frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        stream.options = {"g": str(key_every), "sc_threshold": "0", "preset": "veryfast"}
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def packet(path: Path, number: int) -> tuple[int, int]:
    """First byte and the one after the last of a video's packet, numbered as stored."""
    with av.open(str(path)) as container:
        # Outside the block the entry's memory is freed, and its numbers are anything.
        entry: Any = container.streams.video[0].index_entries[number]
        return entry.pos, entry.pos + entry.size


def number_of(episode: int, step: int) -> int:
    """What the frame of ``episode`` at ``step`` shows."""
    return episode * 100 + step


def _frames(episode: int) -> list[np.ndarray]:
    return [stamped(number_of(episode, step)) for step in range(LENGTHS[episode])]


def _numbers(episode: int) -> np.ndarray:
    return np.random.default_rng(episode).normal(size=(2, LENGTHS[episode], 3)).astype(np.float32)


def _encoded(folder: Path, image: np.ndarray) -> dict[str, Any]:
    Image.fromarray(image).save(folder / "one.png")
    return {"bytes": (folder / "one.png").read_bytes(), "path": "frame.png"}


def _table(scratch: Path, episode: int) -> pa.Table:
    steps = LENGTHS[episode]
    numbers = _numbers(episode)
    pictures = [_encoded(scratch, 255 - frame) for frame in _frames(episode)]
    return pa.table(
        {
            "action": pa.array(list(numbers[0]), pa.list_(pa.float32())),
            "observation.state": pa.array(list(numbers[1]), pa.list_(pa.float32(), 3)),
            PICTURES: pa.array(pictures, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            "timestamp": np.arange(steps, dtype=np.float32) / FPS,
            "episode_index": np.full(steps, episode),
            # The task changes in the middle of the last episode.
            "task_index": (np.arange(steps) > 10).astype(np.int64) * (episode == 2),
        }
    )


def _info(version: str) -> dict[str, Any]:
    numbers = {"dtype": "float32", "shape": [3], "names": [list(JOINTS)]}
    return {
        "codebase_version": version,
        "fps": FPS,
        "total_episodes": len(LENGTHS),
        "chunks_size": 2,
        "features": {
            "action": numbers,
            "observation.state": {**numbers, "names": {"motors": list(JOINTS)}},
            VIDEO: {"dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channel"]},
            PICTURES: {"dtype": "image", "shape": [48, 64, 3], "names": None},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        },
    }


def _meta(root: Path, info: dict[str, Any]) -> None:
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))


def _save(table: pa.Table, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


def make_v21(root: Path) -> Path:
    """One table and one video per episode, two episodes per chunk."""
    paths = {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    _meta(root, {**_info("v2.1"), **paths})
    listed = [{"episode_index": i, "tasks": [], "length": length} for i, length in enumerate(LENGTHS)]
    tasks = [{"task_index": i, "task": task} for i, task in enumerate(TASKS)]
    for name, rows in (("episodes", listed), ("tasks", tasks)):
        (root / f"meta/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for episode in range(len(LENGTHS)):
        where = {"episode_chunk": episode // 2, "episode_index": episode}
        _save(_table(root, episode), root / paths["data_path"].format(**where))
        write_video(root / paths["video_path"].format(video_key=VIDEO, **where), _frames(episode))
    return root


def make_v30(root: Path) -> Path:
    """Episodes 0 and 1 share a table and a video, 2 has its own; row groups end within episodes."""
    paths = {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    _meta(root, {**_info("v3.0"), **paths})
    starts = (0, LENGTHS[0], 0)
    listed = {
        "episode_index": range(len(LENGTHS)),
        "length": LENGTHS,
        "data/chunk_index": [0, 0, 0],
        "data/file_index": [0, 0, 1],
        f"videos/{VIDEO}/chunk_index": [0, 0, 0],
        f"videos/{VIDEO}/file_index": [0, 0, 1],
        f"videos/{VIDEO}/from_timestamp": [start / FPS for start in starts],
        f"videos/{VIDEO}/to_timestamp": [(start + n) / FPS for start, n in zip(starts, LENGTHS, strict=True)],
    }
    _save(
        pa.table({k: pa.array(list(v)) for k, v in listed.items()}), root / "meta/episodes/chunk-000/file-000.parquet"
    )
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": pa.array(TASKS, pa.large_string())})
    _save(tasks, root / "meta/tasks.parquet")
    for file, episodes in enumerate(((0, 1), (2,))):
        where = {"chunk_index": 0, "file_index": file}
        table = pa.concat_tables([_table(root, episode) for episode in episodes])
        _save(table, root / paths["data_path"].format(**where), row_group_size=8)
        frames = [frame for episode in episodes for frame in _frames(episode)]
        write_video(root / paths["video_path"].format(video_key=VIDEO, **where), frames)
    return root


class Footage:
    """For tests that make or read such frames themselves."""

    stamped, read_stamp, write_video = staticmethod(stamped), staticmethod(read_stamp), staticmethod(write_video)
    packet = staticmethod(packet)


@dataclass(frozen=True)
class LeRobotSet:
    """A data set of three episodes in ``root``. Read-only: copy it before changing it."""

    root: Path
    version: str
    lengths = LENGTHS
    tasks = TASKS
    joints = JOINTS
    fps = FPS
    video, pictures = VIDEO, PICTURES
    number_of = staticmethod(number_of)

    def numbers(self, episode: int) -> np.ndarray:
        """Actions and state as they were written, float32 [2, T, 3]."""
        return _numbers(episode)

    def copy(self, to: Path) -> Path:
        """Its root anew, to be changed."""
        return Path(shutil.copytree(self.root, to / "set"))


@pytest.fixture(scope="session")
def footage() -> Footage:
    """Makers of videos and frames."""
    return Footage()


@pytest.fixture(scope="session")
def lerobot_v21(tmp_path_factory: pytest.TempPathFactory) -> LeRobotSet:
    """Version 2.1 alone."""
    return LeRobotSet(make_v21(tmp_path_factory.mktemp("lerobot") / "set"), "v2.1")


@pytest.fixture(scope="session")
def lerobot_v30(tmp_path_factory: pytest.TempPathFactory) -> LeRobotSet:
    """Version 3.0 alone."""
    return LeRobotSet(make_v30(tmp_path_factory.mktemp("lerobot") / "set"), "v3.0")


@pytest.fixture(params=["v2.1", "v3.0"])
def lerobot(request: pytest.FixtureRequest, lerobot_v21: LeRobotSet, lerobot_v30: LeRobotSet) -> LeRobotSet:
    """Each version in turn."""
    return lerobot_v21 if request.param == "v2.1" else lerobot_v30
