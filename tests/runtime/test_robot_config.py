"""How the robot is reached, as the configuration file says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import ConfigError

FRAMES = "bundle: bundle\ncameras: {front: {kind: frames, path: pictures}}\n"
LOG = "outputs: [{kind: log, path: commands.jsonl}]"


def load(folder: Path, text: str) -> Config:
    path = folder / "jetvla.yaml"
    path.write_text(FRAMES + text, encoding="utf-8")
    return load_config(path)


def test_without_a_word_there_is_no_deadman_no_feedback_and_no_state(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert (config.guard.deadman, config.guard.feedback.kind, config.state) == ("none", "none", None)
    assert config.ros.autostart
    assert load(tmp_path, "guard: {deadman: none, feedback: none}\n") == config


@pytest.mark.parametrize(
    ("text", "uses"),
    [
        (f"guard: {{{LOG}}}", False),
        (f"guard: {{{LOG}, deadman: ~/deadman}}", True),
        (f"guard: {{{LOG}, feedback: {{kind: pose}}}}", True),
        (f"guard: {{{LOG}}}\nstate: {{}}", True),
        ("guard: {outputs: [{kind: joint_trajectory}]}", True),
    ],
)
def test_ros_is_opened_for_whatever_is_on_it(tmp_path: Path, text: str, uses: bool) -> None:
    assert load(tmp_path, text).uses_ros is uses


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("guard:\n  outputs: [{kind: twist}, {kind: twist_stamped}]", 3, "two outputs publish /cmd_vel; give each its"),
        ("guard:\n  outputs:\n    - {kind: joint_trajectory, joints: {}}", 5, "guard.outputs.0.joints"),
        ("guard:\n  feedback: {kind: joints}", 4, "guard.feedback"),
        ("guard:\n  feedback: {kind: pose, joints: {}}", 4, "unknown key"),
        ("state:\n  stamp: now", 4, "state.stamp"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"jetvla\.yaml:{line}: .*{says}"):
        load(tmp_path, text)
