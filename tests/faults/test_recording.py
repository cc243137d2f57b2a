"""A run of the real daemons is recorded, audited, and replayed to the last digit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .rig import Rig, within

pytestmark = pytest.mark.ros


def jetvla(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jetvla.services", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_run_is_recorded_audited_and_replayed_exactly(start: Callable[[], Rig], tmp_path: Path) -> None:
    pytest.importorskip("mcap", reason="needs mcap: pip install 'jetvla[record]'")
    rig = start()
    file = tmp_path / "run.mcap"
    recorder = subprocess.Popen(
        [sys.executable, "-m", "jetvla.services", "record", "-o", str(file), "--config", str(rig.path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        within(30, lambda: "recorder: reads along" in rig.status().events, "the recorder reads along")
        rig.move()
        rig.kill("policy")
        within(10, lambda: rig.status().state == "DISARMED", "disarmed")
        published = len(rig.published())
        recorder.terminate()
        said, _ = recorder.communicate(timeout=20)
    finally:
        recorder.kill()
    assert recorder.returncode == 0
    assert f"{published:8}  /command" in said
    assert "missing" not in said
    replayed = jetvla("replay", str(file))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert f"{published} commands, largest difference 0\n" in replayed.stdout
    rig.daemons.stop()
    shown = jetvla("audit", "show", str(tmp_path / "audit"))
    for words in ("ARMED state: armed by the operator", "fault link_lost", "DISARMED state: the robot is at rest"):
        assert words in shown.stdout
    verified = jetvla("audit", "verify", str(tmp_path / "audit"))
    assert verified.returncode == 0, verified.stdout
