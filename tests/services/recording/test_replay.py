"""What was recorded is done again, number for number; and what differs is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from jetvla.runtime.guard.arming import State
from jetvla.services.cli import main
from jetvla.services.recording.reading import Recording
from jetvla.services.recording.replay import Comparison, replay

from .conftest import Stage

MakeStage = Callable[..., Stage]
AHEAD = [0.2, 0.1, 0.0, 0.0, 0.0, 0.3, 0.8]
BACK = [-0.1, 0.0, 0.05, 0.1, 0.0, 0.0, 0.2]


def replayed(stage: Stage) -> Comparison:
    recording = Recording(stage.file)
    return replay(recording.setup, recording.calls())


@pytest.mark.parametrize("execution", ["latest", "temporal_ensemble", "blend"])
def test_a_run_recorded_from_its_start_is_the_same_again(stage: MakeStage, execution: str) -> None:
    one = stage(execution=execution)
    one.start()
    one.rig.arm()
    one.run(1.0, AHEAD)
    one.run(1.0, BACK)
    one.arm_again()
    one.run(1.0, AHEAD)
    one.guard.on_estop(True)
    one.run(3.0, AHEAD)
    one.guard.on_estop(False)
    assert one.guard.reset() == ()
    one.rig.arm()
    one.run(0.6, BACK)
    assert one.stop().lost == 0
    found = replayed(one)
    assert found.same
    assert (found.differing, found.skipped, found.largest) == (0, 0, 0.0)
    assert found.commands == len(one.rig.commands())
    assert found.commands > 500
    assert [s for _, s in found.replayed if s != "BOOT"][:5] == ["ARMED", "STOPPING", "DISARMED", "ARMED", "LATCHED"]


def test_a_recording_from_the_middle_is_exact_from_the_next_arming_on(stage: MakeStage) -> None:
    one = stage()
    one.rig.arm()
    one.run(1.0, AHEAD)
    one.start()
    one.run(0.4, AHEAD)
    one.arm_again()
    assert one.rig.commands()[-1, 6] > 0.5, "the gripper was left half open, and nobody measures it"
    one.run(1.0, BACK)
    one.arm_again()
    one.run(0.6, AHEAD)
    assert one.stop().armed
    found = replayed(one)
    assert found.largest == 0
    assert found.same
    assert found.skipped > 100
    assert found.commands > 300


def test_a_recording_without_an_arming_is_refused(stage: MakeStage, capsys: pytest.CaptureFixture[str]) -> None:
    one = stage()
    one.rig.arm()
    one.run(0.4, AHEAD)
    one.start()
    one.run(0.4, AHEAD)
    assert not one.stop().armed
    assert main(["replay", str(one.file)]) == 1
    assert "start to record first, then arm" in capsys.readouterr().err


def happenings(one: Stage, rng: np.random.Generator) -> list[Callable[[], object]]:
    """What may happen to a guard."""

    def reconnect() -> None:
        one.guard.on_link_lost("closed")
        one.rig.hello()

    def odd_chunk() -> None:
        one.rig.chunk(np.where(rng.random(7) < 0.1, rng.choice([np.nan, np.inf, -np.inf], 7), 0.1))

    return [
        lambda: one.rig.health(age_s=float(rng.uniform(0, 0.4)), frozen=bool(rng.integers(2))),
        lambda: one.rig.say(f"sentence {rng.integers(5)}"),
        lambda: one.guard.on_peers(bool(rng.integers(4)), "nobody"),
        lambda: one.guard.on_feedback(np.full(7, np.nan)),
        one.rig.idle,
        one.guard.reset,
        odd_chunk,
        reconnect,
    ]


def test_random_messages_are_replayed(stage: MakeStage) -> None:
    rng = np.random.default_rng(0)
    one = stage()
    one.start()
    one.rig.arm()
    happens = happenings(one, rng)
    for _ in range(50):
        happens[rng.integers(len(happens))]()
        one.run(0.2, rng.uniform(-0.3, 0.3, 7).tolist())
        if one.guard.state is State.DISARMED:
            one.rig.health()
            one.guard.on_peers(True)
            one.guard.arm()
    one.stop()
    found = replayed(one)
    assert found.same
    assert found.largest == 0
    assert found.commands > 150
    assert len(found.replayed) > 5


def test_other_limits_show_what_would_have_changed(
    stage: MakeStage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = stage()
    one.start()
    one.rig.arm()
    one.run(1.0, AHEAD)
    one.stop()
    assert main(["replay", str(one.file)]) == 0
    assert "largest difference 0\n" in capsys.readouterr().out
    settings = {
        "bundle": "bundle",
        "cameras": {"front": {"kind": "frames", "path": "pictures"}},
        "guard": {"limits": {"linear": {"velocity": 0.1}, "excess_count": 1}},
    }
    (tmp_path / "jetvla.yaml").write_text(yaml.safe_dump(settings))
    assert main(["replay", str(one.file), "--config", str(tmp_path / "jetvla.yaml")]) == 1
    shown = capsys.readouterr().out
    assert "ticks differ, the first at 0." in shown
    assert "recorded: ARMED, [" in shown
    assert "because: excess" in shown


def test_a_changed_command_is_found_with_its_time(stage: MakeStage) -> None:
    one = stage()
    one.start()
    one.rig.arm()
    one.run(1.0, AHEAD)
    one.stop()
    recording = Recording(one.file)
    calls = list(recording.calls())
    ticks = [c for c in calls if c.name == "tick" and c.result.command is not None]
    ticks[50].result.command[2] += 2e-9
    found = replay(recording.setup, calls)
    assert not found.same
    assert found.differing == 1
    assert found.first is not None
    assert found.first.at_ns == ticks[50].at_ns
    assert found.largest == pytest.approx(2e-9)


def test_a_recorder_that_falls_behind_leaves_a_gap_and_not_an_error(
    stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetvla.services.recording.tap.SEND_BUFFER", 1 << 16)
    one = stage()
    one.start()
    one.rig.arm()
    one.run(0.4, AHEAD)
    one.reading.clear()
    one.run(4.0, AHEAD)
    one.reading.set()
    one.run(0.6, AHEAD)
    one.arm_again()
    one.run(0.6, BACK)
    recorded = one.stop()
    assert recorded.lost > 100
    found = replayed(one)
    assert found.lost == recorded.lost
    assert found.same
    assert found.skipped > 0
    assert found.ticks > 40


@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_a_clear_error(stage: MakeStage, part: float, capsys: pytest.CaptureFixture[str]) -> None:
    one = stage()
    one.start()
    one.rig.arm()
    one.run(0.4, AHEAD)
    one.stop()
    content = one.file.read_bytes()
    one.file.write_bytes(content[: int(part * len(content))])
    assert main(["replay", str(one.file)]) == 1
    assert f"{one.file} is cut short or damaged" in capsys.readouterr().err


def test_a_damaged_file_is_a_clear_error(stage: MakeStage, capsys: pytest.CaptureFixture[str]) -> None:
    one = stage()
    one.start()
    one.rig.arm()
    one.run(0.4, AHEAD)
    one.stop()
    content = bytearray(one.file.read_bytes())
    content[len(content) // 3] ^= 1
    one.file.write_bytes(content)
    assert main(["replay", str(one.file)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_no_file_and_no_recording_are_clear_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = pytest.importorskip("mcap.writer", reason="needs mcap: pip install 'jetvla[record]'")
    assert main(["replay", str(tmp_path / "nowhere.mcap")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    with (tmp_path / "other.mcap").open("wb") as stream:
        other = writer.Writer(stream)
        other.start()
        other.finish()
    assert main(["replay", str(tmp_path / "other.mcap")]) == 1
    assert "not a recording of this version" in capsys.readouterr().err
