"""How the robot is reached, as the configuration file says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.ros_names import GUARD_NODE, resolved

FRAMES = "bundle: bundle\ncameras: {front: {kind: frames, path: pictures}}\n"
OFF = ("none", "None", "NONE", '""', "null", "~", "off")
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
        ("guard:\n  outputs: [{kind: twist, topic: /cmd_vel}, {kind: twist, topic: cmd_vel}]", 3, "publish /cmd_vel"),
        *((f"guard:\n  estop: {off}", 4, "guard.estop: the e-stop cannot be switched off; leave") for off in OFF),
        *((f"guard:\n  deadman: {off}", 4, "guard.deadman: write none, in small letters") for off in OFF[1:]),
        ("guard:\n  estop: /stop\n  deadman: stop", 3, "guard.estop and guard.deadman are both /stop; give each"),
        ("guard:\n  deadman: ~/estop", 3, "are both /jetvla_guard/estop"),
        ("ros: {namespace: r}\nguard: {estop: /r/jetvla_guard/d, deadman: ~/d}", 1, "are both /r/jetvla_guard/d"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"jetvla\.yaml:{line}: .*{says}"):
        load(tmp_path, text)


KEYS = {
    "guard.estop": "guard:\n  estop: NAME",
    "guard.deadman": "guard:\n  deadman: NAME",
    "instruction.topic": "instruction:\n  topic: NAME",
    "state.topic": "state:\n  topic: NAME",
    "guard.feedback.topic": "guard: {feedback:\n  {kind: joint_states, topic: NAME}}",
    "guard.feedback.pose.topic": "guard: {feedback:\n  {kind: pose, topic: NAME}}",
    **{
        f"guard.outputs.0.{kind}.topic": f"guard: {{outputs:\n  [{{kind: {kind}, topic: NAME}}]}}"
        for kind in ("twist", "twist_stamped", "joint_trajectory", "gripper")
    },
}
WRONG = ("/a b", "~", "~x", "/", "/a/", "a//b", "/1a", "a__b", "/a-b", "/é", "/a\\n", "{node}")


@pytest.mark.parametrize("key", KEYS)
def test_every_topic_is_a_name_of_ros_2(tmp_path: Path, key: str) -> None:
    for right in ("/a/b_2", "a/b", "~/a", "_a"):
        load(tmp_path, KEYS[key].replace("NAME", f'"{right}"'))
    for wrong in WRONG:
        with pytest.raises(ConfigError, match=r"jetvla\.yaml:4: .*topic|jetvla\.yaml:4: guard\.") as caught:
            load(tmp_path, KEYS[key].replace("NAME", f'"{wrong}"'))
        assert "is no name of a ROS 2 topic" in str(caught.value)


def test_a_topic_of_a_camera_is_a_name_of_ros_2(tmp_path: Path) -> None:
    path = tmp_path / "jetvla.yaml"
    path.write_text("bundle: b\ncameras:\n  front: {kind: ros, topic: }\n")
    with pytest.raises(ConfigError, match=r"jetvla\.yaml:3: cameras\.front\.topic"):
        load_config(path)
    path.write_text("bundle: b\ncameras:\n  front: {kind: ros, topic: a b}\n")
    with pytest.raises(ConfigError, match=r"jetvla\.yaml:3: cameras\.front\.topic: is no name of a ROS 2 topic"):
        load_config(path)


@pytest.mark.ros
def test_ros_2_refuses_no_other_name() -> None:
    rclpy = pytest.importorskip("rclpy", reason="needs rclpy (extra 'ros')")
    from rclpy.expand_topic_name import expand_topic_name
    from rclpy.validate_full_topic_name import validate_full_topic_name

    for right in ("/a/b_2", "a/b", "~/a", "_a"):
        assert validate_full_topic_name(expand_topic_name(right, GUARD_NODE, "/r"))
        assert expand_topic_name(right, GUARD_NODE, "/r") == resolved(right, GUARD_NODE, "r")
    # These are refused by the design of ROS 2's names, or are the guard's own node, and rclpy takes them.
    for wrong in {*WRONG} - {"~", "~x", "a__b", "{node}"}:
        with pytest.raises((ValueError, rclpy.exceptions.NameValidationException)):
            validate_full_topic_name(expand_topic_name(wrong.replace("\\n", "\n"), GUARD_NODE, "/r"))
