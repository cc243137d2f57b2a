"""The policy process on the video of a real robot, recorded at 30 frames a second in AV1."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from jetvla.runtime.link.protocol import ChunkMessage, Health, Hello

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "g1-bottle"
VIDEO = DATA / "videos" / "chunk-000" / "observation.images.cam_high" / "episode_000004.mp4"
CHUNKS = 60

pytestmark = [
    pytest.mark.build,
    pytest.mark.skipif(
        not VIDEO.is_file(), reason="the recordings of a real robot are not at ../shared/data/g1-bottle"
    ),
]


@pytest.fixture
def joints() -> list[str]:
    info = json.loads((DATA / "meta" / "info.json").read_text(encoding="utf-8"))
    names: list[str] = info["features"]["action"]["names"][0]
    return names


@pytest.fixture
def bundle(place: Path, joints: list[str]) -> None:
    """In the place of the tiny bundle, one that acts on the robot's 26 joints."""
    joint = {"quantity": "joint", "unit": "rad", "semantics": "absolute"}
    spec = place / "spec.json"
    spec.write_text(json.dumps({"dimensions": [{"name": name, **joint} for name in joints]}), encoding="utf-8")
    shutil.rmtree(place / "bundle")
    options = ["--random-init", "tiny", "--precision", "fp32", "--action-spec", str(spec)]
    command = [sys.executable, "-m", "jetvla.services", "build", *options]
    key = place / "keys" / "test.key"
    subprocess.run([*command, "--key", str(key), "-o", str(place / "bundle")], check=True)


def presentation_times() -> list[int]:
    """Of every frame of the video, nanoseconds after the first one's, as the file states them."""
    with av.open(str(VIDEO)) as container:
        stream = container.streams.video[0]
        times = sorted(p.pts for p in container.demux(stream) if p.pts is not None)
        assert stream.time_base is not None
        return [round((t - times[0]) * stream.time_base * 1_000_000_000) for t in times]


@pytest.mark.usefixtures("bundle")
def test_chunks_come_at_the_frames_capture_times_and_are_finite(
    configured: Callable[..., Path], guard: Any, start: Callable[[Path], Any], joints: list[str]
) -> None:
    daemon = start(configured(cameras={"front": {"kind": "video", "path": str(VIDEO)}}))
    guard.wait_for(lambda: len(guard.of(ChunkMessage)) >= CHUNKS)
    assert daemon.end() == 0
    assert len(joints) == 26
    assert guard.of(Hello)[0].golden_passed
    chunks, healths = guard.of(ChunkMessage), guard.of(Health)
    assert all(chunk.actions.shape == (1, len(joints)) for chunk in chunks)
    assert all(np.isfinite(chunk.actions).all() for chunk in chunks)

    # HEALTH says which frame of the camera was the newest, so the file itself tells when it was captured.
    times = presentation_times()
    seen = {health.cameras[0].t_ns: health.cameras[0].seq for health in healths if health.cameras}
    starts = {t_ns - times[seq] for t_ns, seq in seen.items()}
    assert max(starts) - min(starts) <= 2
    assert [chunk.t0_ns for chunk in chunks] == sorted({chunk.t0_ns for chunk in chunks})
    assert {chunk.t0_ns for chunk in chunks} <= set(seen)
    # Different pictures, different answers.
    assert np.ptp(np.stack([chunk.actions[0] for chunk in chunks]), axis=0).max() > 0
