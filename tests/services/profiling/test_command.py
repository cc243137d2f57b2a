"""``jetvla profile`` as a user meets it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import SIGNATURE, Bundle
from jetvla.runtime.config import load_config
from jetvla.runtime.telemetry.status import read_status
from jetvla.services.cli import main
from jetvla.services.profiling.guard import MOMENTS
from jetvla.services.profiling.record import Profile, read_profile
from jetvla.services.supervisor import POLICY, PROFILED_GUARD, Daemons

from ..joint_bundle import make_joint_bundle

PATIENCE_S = 120.0


LAYERLESS = (
    ["--budget", "wrong.yaml"],
    ["--html", "x.html"],
    ["--seconds", "5"],
    ["--rate", "5"],
    ["--saturate"],
    ["--engine-only"],
    ["--camera", "video:a.mp4"],
    ["--instruction", "go"],
)
PACED_BY_ITSELF = ("video:a.mp4", "v4l2:/dev/video0", "ros:/camera")


def profile(bundle: Path, *options: object) -> int:
    return main(["profile", str(bundle), "--trusted", str(bundle.parent / "keys"), *map(str, options)])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name either a BUNDLE"),
        (["B", "--config", "c.yaml"], "name either a BUNDLE"),
        (["--config", "c.yaml", "--saturate"], "need a BUNDLE"),
        (["B", "--seconds", "0"], "--seconds 0 is out of range"),
        (["B", "--rate", "0"], "--rate 0 is out of range"),
        (["B", "--camera", "lidar:/dev/x"], "KIND:PLACE"),
        (["B", "--camera", "v4l2:/dev/video0", "--saturate"], "use frames:FOLDER"),
        (["B", "--camera", "video:none.mp4"], "there is no video none.mp4"),
        (["B", "--camera", "frames:none"], "there is no folder none"),
        (["B", "--camera", "v4l2:/dev/none"], "/dev/none is no device"),
        (["B/step.fp32.onnx", "--engine-only"], "is no packed bundle"),
        (["B/step.fp32.onnx", "--layers"], "is no packed bundle"),
        (["--config", "c.yaml", "--unsigned"], "--unsigned has no meaning with --config"),
        (["B", "--against", "a.json"], "--against needs --html"),
        (["B", "--json", "no/where.json"], "--json no/where.json: there is no folder no"),
        (["B", "--html", "keys"], "--html keys is a folder"),
        (["B", "--json", "B/manifest.json"], "would alter the bundle"),
        (["B", "--budget", "none.yaml"], "cannot read none.yaml"),
        (["B", "--budget", "wrong.yaml"], "wrong.yaml:1: stepp: unknown key"),
        (["B", "--engine-only", "--budget", "age.yaml"], "age.yaml limits age, stops too"),
        *((["B", "--layers", *words], f"{words[0]} has no meaning with --layers") for words in LAYERLESS),
        (["B", "--engine-only", "--camera", "video:a.mp4"], "--camera has no meaning with --engine-only"),
        (["B", "--engine-only", "--threads", "1"], "--threads has no meaning with --engine-only"),
        (["B", "--threads", "1"], "--threads has no meaning without --layers"),
        *((["B", "--rate", "10", "--camera", c], f"--rate has no meaning with --camera {c}") for c in PACED_BY_ITSELF),
        (["--config", "c.yaml", "--rate", "10"], "--rate has no meaning with --config"),
        (["--config", "c.yaml", "--camera", "ros:/x"], "--camera has no meaning with --config"),
        (["B", "--html", "x.html", "--against", "other.json"], "attached and paced; measure both alike, or insist"),
        (["B", "--html", "x.html", "--force"], "--force needs --against"),
        (["B", "--html", "x.html", "--against", "none.json"], "none.json cannot be read"),
    ],
)
def test_what_has_no_sense_is_refused_before_anything_is_measured(
    signed_bundle: Path,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    make_profile: Callable[..., Profile],
) -> None:
    monkeypatch.chdir(signed_bundle.parent)
    signed_bundle.rename("B")
    Path("wrong.yaml").write_text("stepp: {p50_ms: 1}\n")
    Path("age.yaml").write_text("age: {p50_ms: 1}\nstep: {p50_ms: 1}\nstops: 0\n")
    Path("other.json").write_text(make_profile(count=3, mode="attached").as_json())
    trusted = [] if "--config" in words else ["--trusted", "keys"]
    assert main(["profile", *words, *trusted]) == 1
    told = capsys.readouterr()
    assert said in told.err
    assert told.out == ""


@pytest.mark.parametrize("words", [["--json", "x"], ["--html", "x"], ["--layers", "--json", "x"]])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    signed_bundle: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.chdir(signed_bundle.parent)
    monkeypatch.setattr(Path, "write_bytes", read_only)
    monkeypatch.setattr(Path, "write_text", read_only)
    assert main(["profile", "bundle", "--trusted", "keys", *words]) == 1
    told = capsys.readouterr()
    assert f"{words[-2]} x cannot be written: Read-only file system" in told.err
    assert told.out == ""
    assert not Path("x").exists()


def test_the_engine_alone_runs_both_ways(signed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures, budget = signed_bundle.parent / "engine.json", signed_bundle.parent / "budget.yaml"
    budget.write_text("step: {p50_ms: 0.000001, deadline_ms: 60000}\n")
    assert profile(signed_bundle, "--engine-only", "--seconds", 2, "--json", figures, "--budget", budget) == 1
    assert "over budget: step p50 is " in capsys.readouterr().out
    made = read_profile(figures)
    assert made.mode == "engine"
    assert tuple(made.stages) == ("step", "step, back to back")
    # A second at 30 Hz; back to back there are as many as the machine can, of which each is at least one.
    assert 1 <= made.stages["step"].count <= 31
    assert made.stages["step, back to back"].count >= 1
    assert [v.held for v in made.budget] == [False, True]


def test_a_bundle_that_is_not_trusted_does_not_run(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    assert main(["profile", str(tiny_bundle), "--trusted", str(tmp_path / "keys"), "--engine-only"]) == 1


def test_joints_are_taken_to_be_somewhere_so_that_their_policy_has_a_speed(place: Path) -> None:
    figures = place / "joints.json"
    assert profile(make_joint_bundle(place), "--seconds", 2, "--json", figures) == 0
    made = read_profile(figures)
    # A busy machine may stall the guard afterwards, which then stops.
    assert {"armed", "first command that obeys a frame"} <= {moment.name for moment in made.cold_start}
    assert "following" not in made.stops


def test_a_packed_bundle_is_profiled_and_an_unsigned_one_where_the_user_says_so(signed_bundle: Path) -> None:
    figures, packed = signed_bundle.parent / "packed.json", signed_bundle.parent / "b.jetvla"
    pack(signed_bundle, packed)
    assert profile(packed, "--engine-only", "--seconds", 1) == 0
    (signed_bundle / SIGNATURE).unlink()
    pack(signed_bundle, packed)
    for words in (["--seconds", "1"], ["--engine-only", "--seconds", "1"]):
        assert main(["profile", str(packed), "--unsigned", *words, "--json", str(figures)]) == 0
        assert read_profile(figures).bundle == Bundle.open(signed_bundle, None).digest
    assert not (signed_bundle / SIGNATURE).exists()


def test_a_former_profile_of_another_way_is_compared_where_the_user_insists(
    signed_bundle: Path, make_profile: Callable[..., Profile]
) -> None:
    former, page = signed_bundle.parent / "former.json", signed_bundle.parent / "page.html"
    former.write_text(make_profile(mode="attached").as_json())
    words = ["--engine-only", "--seconds", 1, "--html", page, "--against", former]
    assert profile(signed_bundle, *words) == 1
    assert not page.exists()
    assert profile(signed_bundle, *words, "--force") == 0
    assert "way of measuring: attached and engine" in page.read_text()


def test_the_instruction_is_read_often_enough_to_be_judged(signed_bundle: Path) -> None:
    figures, budget = signed_bundle.parent / "read.json", signed_bundle.parent / "budget.yaml"
    budget.write_text("language: {deadline_ms: 0.000001, miss_ratio: 0.5}\nstops: 1000000\n")
    assert profile(signed_bundle, "--seconds", 1, "--json", figures, "--budget", budget) == 1
    made = read_profile(figures)
    assert [made.stages[name].count for name in ("tokenize", "language")] == [24, 24]
    assert [(v.stage, v.measured) for v in made.exceeded] == [("language", 1.0)]


def test_saturated_the_policy_answers_more_often_than_the_camera_would(signed_bundle: Path) -> None:
    """At one picture a second there is one chunk a second, unless pictures come as fast as they can be answered."""
    figures = signed_bundle.parent / "saturated.json"
    assert profile(signed_bundle, "--saturate", "--rate", 1, "--seconds", 2, "--json", figures) == 0
    made = read_profile(figures)
    assert made.mode == "saturated"
    assert made.rate_hz > 4


def test_running_daemons_are_watched_and_go_on(
    configured: Callable[..., Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = {"kind": "frames", "path": "pictures", "fps": 30, "loop": True}
    limits = {"excess_count": 10**9, "excess_window": 10**9, "seam_ratio": 1e9}
    guard = {"outputs": [{"kind": "log", "path": "commands.jsonl"}], "limits": limits}
    path = configured(cameras={"front": camera}, guard=guard, instruction={"text": "go", "ttl_s": None})
    pictures(place / "pictures")
    figures, page = place / "a.json", place / "a.html"
    with Daemons(path, (PROFILED_GUARD, POLICY)) as daemons:
        wait_for(load_config(path).run_dir / MOMENTS, daemons)
        words = ["profile", "--config", str(path), "--seconds", "2", "--json", str(figures), "--html", str(page)]
        assert main(words) == 0
        assert daemons.dead() is None
        ticks = read_status(load_config(path).status).ticks
    made: Profile = read_profile(figures)
    assert made.mode == "attached"
    assert made.engine is None
    assert made.engine_key == read_status(load_config(path).status).engine_key
    assert made.engine_key is not None
    assert made.stages["guard"].count > 10
    assert made.stages["step"].count > 1
    assert ticks >= made.stages["guard"].count
    assert {m.process for m in made.memory} == {"policy", "guard"}
    assert "<html" in page.read_text()
    # They have ended now, and what they left behind is no measurement.
    capsys.readouterr()
    assert main(["profile", "--config", str(path), "--seconds", "1"]) == 1
    assert "jetvla run" in capsys.readouterr().err


def pictures(folder: Path) -> None:
    from PIL import Image

    folder.mkdir()
    for shade in (60, 120, 180):
        Image.effect_noise((64, 64), shade).convert("RGB").save(folder / f"{shade}.png")


def wait_for(path: Path, daemons: Daemons) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert daemons.dead() is None
        assert time.monotonic() < give_up
        time.sleep(0.1)


@pytest.mark.parametrize("whole", [True, False])
def test_a_guard_that_arms_itself_commands_no_robot(configured: Callable[..., Path], place: Path, whole: bool) -> None:
    """Of the bundle it verifies the manifest, as the guard of a robot does: the rest is the policy's."""
    path = configured(guard={"outputs": [{"kind": "twist"}]})
    if not whole:
        next((place / "bundle").rglob("*.onnx")).write_bytes(b"")
    words = [sys.executable, "-m", "jetvla.services.profiling.guard", "--config", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert "outputs of kind log only" in done.stderr


def test_the_json_file_says_its_resolution(make_profile: Callable[..., Profile]) -> None:
    assert json.loads(make_profile(count=3).as_json())["resolution"] == 1 / 128
