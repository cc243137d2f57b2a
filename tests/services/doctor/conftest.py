"""A folder that is laid out like a machine, and a configuration on which everything is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jetvla.services.doctor.system import System

CONFIG = """
bundle: bundle
trusted: keys
run_dir: run
cameras: {front: {kind: video, path: clip.mp4}}
policy: {backend: onnxruntime, engines: engines}
guard: {outputs: [{kind: log, path: commands.jsonl}]}
telemetry: {audit: audit}
"""


@dataclass
class Answers:
    """What programs answer, by the words they are called with; None for all others."""

    known: dict[str, str] = field(default_factory=dict)

    def __call__(self, words: Sequence[str]) -> str | None:
        line = " ".join(words)
        return next((answer for start, answer in self.known.items() if line.startswith(start)), None)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def system(tmp_path: Path, answers: Answers) -> System:
    root = tmp_path / "machine"
    (root / "etc/jetvla").mkdir(parents=True)
    return System(root, answers)


@pytest.fixture
def jetson(system: System) -> System:
    system.path("/etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\nX=1\n")
    return system


@pytest.fixture
def config(signed_bundle: Path, tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").touch()
    path = tmp_path / "jetvla.yaml"
    path.write_text(CONFIG)
    return path
