"""Rings of daemons that never ran."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from jetvla.runtime.config import Config, load_config
from jetvla.runtime.telemetry.spans import SpanRing

MS = 1_000_000
S = 1000 * MS


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    settings = {
        "bundle": "bundle",
        "run_dir": "run",
        "cameras": {"front": {"kind": "frames", "path": "pictures"}},
        "telemetry": {"audit": "audit"},
    }
    path = tmp_path / "jetvla.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture
def config(config_path: Path) -> Config:
    return load_config(config_path)


class Robot:
    """Two daemons that answer a frame every 50 ms, on a clock of their own.

    Both have the process number of this test, as two containers may have.
    """

    def __init__(self, config: Config, start_ns: int, capacity: int = 4096) -> None:
        self.policy = SpanRing(config.spans("policy"), start_ns, capacity)
        self.guard = SpanRing(config.spans("guard"), start_ns, capacity)
        self.pid = os.getpid()

    def answer(self, frame_ns: int, step_ms: int = 20, commanded: bool = True) -> int:
        """One frame, from its capture to the end of its command; the guard's spans are there first. Gives its age."""
        capture, step = 5 * MS, step_ms * MS
        sent = frame_ns + capture + step + 1000
        end = sent + 9 * MS + 7
        self.guard.add("wake", end - 2 * MS, 80_123)
        self.guard.add("link", sent, 8 * MS, frame_ns)
        self.guard.add("guard", end - MS, MS // 2)
        if commanded:
            self.guard.add("age", frame_ns, end - frame_ns, frame_ns)
            self.guard.add("publish", end - 400_001, 400_001, frame_ns)
        self.policy.add("capture", frame_ns, capture, frame_ns)
        self.policy.add("step", frame_ns + capture, step, frame_ns)
        return end - frame_ns
