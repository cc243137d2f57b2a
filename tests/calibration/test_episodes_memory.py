"""Reading streams: what is in memory does not grow with the data set."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jetvla.calibration.episodes.formats import BOUND_MB

STEPS, EPISODES, HEIGHT, WIDTH = 60, 5, 480, 640

# The first image of each data set loads the libraries and makes the caches; growth is counted from there.
PROGRAM = """
import json, re, sys
from pathlib import Path
from jetvla.calibration.episodes import open_episodes
# ru_maxrss would start with the peak of the process that started this one.
def peak_mb(): return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
warm = open_episodes(Path(sys.argv[1]))[0]
camera = warm.cameras[0]
next(warm.images(camera, [0])); warm.actions
before, read = peak_mb(), 0
for episode in open_episodes(Path(sys.argv[2])):
    numbers = episode.actions, episode.state
    read += sum(image.nbytes for image in episode.images(camera, range(len(episode))))
print(json.dumps({"grown_mb": peak_mb() - before, "read_mb": read / 2**20}))
"""


def _grown(warm: Path, data: Path) -> dict[str, float]:
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, warm, data], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("kind", ["hdf5", "video", "pictures"])
def test_memory_does_not_grow_with_the_data(tmp_path: Path, footage: Any, kind: str) -> None:
    make = {"hdf5": _hdf5, "video": partial(_videos, footage), "pictures": _pictures}[kind]
    small, large = tmp_path / "small", tmp_path / "large"
    for folder, steps, episodes in ((small, 2, 1), (large, STEPS, EPISODES)):
        folder.mkdir()
        make(folder, steps, episodes)
    found = _grown(small, large)
    assert found["read_mb"] > 4 * BOUND_MB
    assert found["grown_mb"] < BOUND_MB


def _hdf5(folder: Path, steps: int, episodes: int) -> None:
    for episode in range(episodes):
        with h5py.File(folder / f"{episode}.hdf5", "w") as file:
            # Chunks that are never written cost no disk, and are read like any other.
            shape = (steps, HEIGHT, WIDTH, 3)
            file.create_dataset("observations/images", shape, np.uint8, chunks=(1, *shape[1:]))
            file.create_dataset("instructions", data="go")
            file.create_dataset("actions", data=np.zeros((steps, 7), np.float32))


def _videos(footage: Any, folder: Path, steps: int, episodes: int) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, WIDTH, dtype=np.uint8)[:, None], (HEIGHT, WIDTH, 3))
    one = footage.write_video(folder / "0.mp4", [np.roll(ramp, 2 * step, axis=1) for step in range(steps)])
    for episode in range(episodes):
        path = folder / f"{episode}.mp4"
        if path != one:
            os.link(one, path)
        path.with_suffix(".txt").write_text("go")


def _pictures(folder: Path, steps: int, episodes: int) -> None:
    """LeRobot v2.1 with pictures of 0.9 MB in the tables, which compress to nothing."""
    encoded = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT)).save(encoded, format="bmp")
    info = {
        "codebase_version": "v2.1",
        "fps": 10,
        "total_episodes": episodes,
        "data_path": "data/{episode_index}.parquet",
        "features": {"observation.image": {"dtype": "image", "shape": [HEIGHT, WIDTH, 3]}},
    }
    for name in ("meta", "data"):
        (folder / name).mkdir()
    listed = (json.dumps({"episode_index": i, "length": steps}) for i in range(episodes))
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "meta/episodes.jsonl").write_text("\n".join(listed))
    (folder / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "go"}))
    cells = pa.array([{"bytes": encoded.getvalue(), "path": None}] * steps)
    for episode in range(episodes):
        columns = {"observation.image": cells, "episode_index": [episode] * steps, "task_index": [0] * steps}
        # A page cannot be unpacked in part, and by default pyarrow puts up to 1024 values into one.
        options = {"use_dictionary": False, "compression": "zstd", "write_batch_size": 8}
        pq.write_table(pa.table(columns), folder / f"data/{episode}.parquet", **options)
