"""The table of seams: known jumps, real bundles, and what the command prints."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from jetvla.calibration.episodes import open_episodes
from jetvla.engines.bench.__main__ import main
from jetvla.engines.bench.seams import Coming, SeamRow, named, recorded_chunks, seams
from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Instruction
from jetvla.runtime.errors import EpisodeError
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.limits import Limits

JOINTS = ActionSpec(
    dimensions=tuple(ActionDimension(name=n, quantity="joint", unit="rad", semantics="absolute") for n in ("a", "b"))
)
TIMING = ChunkTiming(20, 0.1, 0.5)


def alternating(size: float) -> list[Coming]:
    """Chunks every 0.5 s, of which every other one wants joint ``b`` to be ``size`` further."""
    word = Instruction.of("go on", 0).id
    comings = []
    for k in range(8):
        rows = np.tile(np.float32([0.0, size * (k % 2)]), (20, 1))
        t0_ns = seconds_to_ns(1.0 + 0.5 * k)
        comings.append(Coming(ActionChunk(rows, t0_ns, seconds_to_ns(0.1), word, "b", k), t0_ns + seconds_to_ns(0.1)))
    return comings


def table(size: float, limits: Limits | None = None) -> dict[str, SeamRow]:
    return {row.execution: row for row in seams(alternating(size), JOINTS, TIMING, limits or Limits())}


def test_jumps_are_those_of_the_executions() -> None:
    rows = table(0.2)
    assert list(rows) == ["latest", "temporal_ensemble", "blend"]
    assert rows["latest"].jump == pytest.approx(0.2)
    # The second of two chunks weighs almost a half.
    assert rows["temporal_ensemble"].jump == pytest.approx(0.1, rel=0.02)
    assert rows["blend"].jump < 1e-6
    assert {row.latches for row in rows.values()} == {0}


def test_commands_stay_within_the_limits_and_use_them() -> None:
    for row in table(0.2).values():
        assert 0.3 < row.acceleration <= 2.0 * (1 + 1e-6)
        assert 0 < row.typical_jerk < row.jerk <= 20.0 * (1 + 1e-6)


def test_seams_beyond_the_limit_are_counted_and_merged_all_the_same() -> None:
    rows = table(0.4)
    assert rows["latest"].latches == 7
    assert rows["latest"].jump == pytest.approx(0.4)
    assert rows["blend"].jump < 1e-6
    assert table(0.4, Limits(seam_rad=0.41))["latest"].latches == 0


def test_an_episode_is_chosen_by_name(episodes: Path) -> None:
    found = open_episodes(episodes)
    assert named(found, None) is found[-1]
    assert named(found, found[0].name) is found[0]
    with pytest.raises(EpisodeError, match=f"no episode other, only {found[0].name}, "):
        named(found, "other")


def test_a_bundle_answers_recorded_frames(tiny_bundle: Path, episodes: Path) -> None:
    bundle, episode = Bundle.open(tiny_bundle, None), open_episodes(episodes)[0]
    comings = recorded_chunks(bundle, episode, 0.2, 0.05)
    assert len(comings) == (len(episode) + 1) // 2
    assert {c.t_ns - c.chunk.t0_ns for c in comings} == {seconds_to_ns(0.05)}
    assert {b.chunk.t0_ns - a.chunk.t0_ns for a, b in pairwise(comings)} == {seconds_to_ns(0.2)}
    assert comings[0].chunk.actions.shape == (1, len(bundle.manifest.action))
    assert len({c.chunk.actions.tobytes() for c in comings}) > 1


def test_the_command_prints_and_writes_the_table(
    tiny_bundle: Path, episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "seams.json"
    assert main(["--json", str(file), "seams", str(tiny_bundle), str(episodes), "--replan", "0.2", "--speed", "2"]) == 0
    printed = capsys.readouterr().out
    for row in json.loads(file.read_text()):
        assert row["execution"] in printed
        assert f"{row['typical_jerk']:.3g}" in printed


def test_what_is_no_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seams", str(tmp_path), str(tmp_path)]) == 1
    assert "is not a bundle: it has no manifest.json" in capsys.readouterr().err
