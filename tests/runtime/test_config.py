"""A configuration is right, or every mistake in it is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetvla.runtime.config import Config, RosCamera, TwistOutput, VideoCamera, load_config
from jetvla.runtime.errors import ConfigError

RIGHT = """\
bundle: bundle
cameras:
  front: {kind: video, path: clips/a.mp4, loop: true}
"""


def load(folder: Path, text: str) -> Config:
    (folder / "jetvla.yaml").write_text(text)
    return load_config(folder / "jetvla.yaml")


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [line.removeprefix(f"{folder}/jetvla.yaml:") for line in str(caught.value).splitlines()[1:]]


def test_paths_are_relative_to_the_file_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, RIGHT)
    camera = config.cameras["front"]
    assert config.bundle == tmp_path / "bundle"
    assert isinstance(camera, VideoCamera)
    assert camera.path == tmp_path / "clips/a.mp4"
    assert config.trusted == Path("/etc/jetvla/trusted.d")
    assert config.guard.outputs == (TwistOutput(kind="twist"),)
    assert config.instruction.stop_words == ("stop", "halt")
    assert config.uses_ros


def test_ros_is_used_only_where_something_is_on_it(tmp_path: Path) -> None:
    logged = RIGHT + "guard: {outputs: [{kind: log, path: out.jsonl}]}\n"
    assert not load(tmp_path, logged).uses_ros
    seen = logged.replace("{kind: video, path: clips/a.mp4, loop: true}", "{kind: ros}")
    config = load(tmp_path, seen)
    assert config.uses_ros
    assert config.cameras["front"] == RosCamera(kind="ros", topic="/camera/image_raw")


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """\
cameras:
  front: {kind: ros, topik: /x}
  side: {kind: lidar}
guard:
  rate_hz: 5000
  limits:
    linear:
      velocity: -1
    speed: 3
instruction:
  ttl_s: soon
colour: red
""",
    )
    assert len(found) == 8
    for line, key, words in (
        (1, "bundle", "required"),
        (2, "cameras.front.topik", "unknown key"),
        (3, "cameras.side", "lidar"),
        (5, "guard.rate_hz", "1000 (it is 5000)"),
        (8, "guard.limits.linear.velocity", "greater than 0 (it is -1)"),
        (9, "guard.limits.speed", "unknown key"),
        (11, "instruction.ttl_s", "soon"),
        (12, "colour", "unknown key"),
    ):
        assert any(f.startswith(f"{line}: {key}") and words in f for f in found), (line, key, found)


def test_limits_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, RIGHT + "guard: {limits: {linear: {acceleration: 2, deceleration: 1}}}\n")
    assert found.startswith("4: guard.limits")
    assert "deceleration" in found


def test_overridden_limits_reach_the_guard(tmp_path: Path) -> None:
    overrides = "guard: {limits: {linear: {velocity: 0.1}, bad_chunks: 5}}\ninstruction: {ttl_s: 7}\n"
    config = load(tmp_path, RIGHT + overrides)
    assert config.limits.linear.velocity == 0.1
    assert config.limits.linear.deceleration == 1.0
    assert config.limits.bad_chunks == 5
    assert config.limits.instruction_ttl_s == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", ":1: not valid YAML"),
        ("bundle: a\nbundle: b\n", ":2: bundle is there twice"),
        ("- 1\n", "must have keys with values of their own"),
        ("", "bundle: is required"),
        (RIGHT + "guard: {rate_hz: .nan}\n", ":4: guard.rate_hz"),
        (RIGHT.replace("video", "null"), "kind"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


def test_who_has_no_configuration_yet_learns_how_to_name_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetvla.runtime.config.DEFAULT_CONFIG", tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file or directory; name another with --config FILE"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["current", "previous", "ab" * 32])
def test_a_name_in_the_store_is_one(tmp_path: Path, name: str) -> None:
    stored = RIGHT.replace("bundle: bundle", f"bundle: {name}")
    assert load(tmp_path, stored).bundle == Path("/var/lib/jetvla/bundles") / name
    assert load(tmp_path, f"store: bundles\n{stored}").bundle == tmp_path / "bundles" / name


@pytest.mark.parametrize("path", ["./current", "AB" * 32, "ab" * 31, "currently", "/srv/current"])
def test_anything_else_is_a_path(tmp_path: Path, path: str) -> None:
    assert load(tmp_path, RIGHT.replace("bundle: bundle", f"bundle: {path}")).bundle == tmp_path / path


def test_a_wrong_store_is_named_before_the_name_in_it(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "store: [1]\n" + RIGHT.replace("bundle: bundle", "bundle: current"))
    assert len(found) == 1
    assert found[0].startswith("1: store: ")


@pytest.mark.parametrize("wrong", ["seconds: 0", "seconds: .inf", "missed: -1", "clipped: 1.1", "restarts: -1", "x: 1"])
def test_impossible_trials_are_named(tmp_path: Path, wrong: str) -> None:
    (found,) = mistakes(tmp_path, f"{RIGHT}trial:\n  {wrong}\n")
    assert found.startswith(f"5: trial.{wrong.partition(':')[0]}: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("guard: {limit: {}}", "4: guard.limit: unknown key; is limits meant?"),
        ("guard: {limits: {linear: {velocty: 1}}}", "4: guard.limits.linear.velocty: unknown key; is velocity meant?"),
        ("guard: {outputs: [{kind: twist, topc: /x}]}", "4: guard.outputs.0.topc: unknown key; is topic meant?"),
        ("guard: {feedback: {kind: pose, axis: []}}", "4: guard.feedback.axis: unknown key; is axes meant?"),
        ("colour: red", "4: colour: unknown key; remove it or correct its spelling"),
        (
            "guard: {limits: {linear: 5}}",
            "4: guard.limits.linear: must have keys with values of their own, of velocity, acceleration, deceleration, "
            "jerk, travel_100ms, travel_1s (it is 5)",
        ),
        ("guard: 5", "4: guard: must have keys with values of their own, of rate_hz, limits, estop, "),
        ("guard: {outputs: [twist]}", "4: guard.outputs.0: must have keys with values of their own, of kind, topic, "),
        (
            "guard: {outputs: [{kind: griper}]}",
            "4: guard.outputs.0: kind 'griper' is none of twist, twist_stamped, joint_trajectory, gripper, log; is "
            "gripper meant?",
        ),
        ("guard: {outputs: [{topic: /x}]}", "4: guard.outputs.0: has no kind; add it"),
    ],
)
def test_a_mistake_in_plain_words(tmp_path: Path, text: str, says: str) -> None:
    (said,) = mistakes(tmp_path, RIGHT + text)
    assert said.startswith(says)


def test_a_tab(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"jetvla.yaml:5: not valid YAML: .*; YAML takes no tabs, use spaces"):
        load(tmp_path, RIGHT + "guard:\n\trate_hz: 10\n")


def test_limits_far_above_the_defaults_are_doubted_and_obeyed(tmp_path: Path) -> None:
    usual = "guard: {limits: {linear: {velocity: 2.5}, period_ratio: 30, rest_s: 1, gripper: {travel_1s: 99}}}\n"
    assert load(tmp_path, RIGHT + usual).guard.limits.doubts() == []
    assert load(tmp_path, RIGHT).guard.limits.doubts() == []
    loose = "guard: {limits: {prismatic: {velocity: 2, jerk: 101}, late_chunks: 40}}\n"
    config = load(tmp_path, RIGHT + loose)
    assert config.guard.limits.doubts() == [
        "guard.limits.prismatic.velocity: 2 is 20 times the default of 0.1 m/s; is it meant so, and in this unit?",
        "guard.limits.prismatic.jerk: 101 is 10 times the default of 10 m/s³; is it meant so, and in this unit?",
        "guard.limits.late_chunks: 40 is 13 times the default of 3 in a row; is it meant so, and in this unit?",
    ]
    assert config.limits.prismatic.velocity == 2


def test_a_stop_that_nobody_would_wait_for_is_refused(tmp_path: Path) -> None:
    slow = "guard: {limits: {linear: {acceleration: 0.01, deceleration: DOWN}}}\n"
    load(tmp_path, RIGHT + slow.replace("DOWN", "0.03"))
    (found,) = mistakes(tmp_path, RIGHT + slow.replace("DOWN", "0.02"))
    assert "guard.limits: linear: a stop from 0.25 m/s would take 12.5 s, and more than 10 is too long" in found
    (found,) = mistakes(tmp_path, RIGHT + "guard: {limits: {joint: {velocity: 90}}}\n")
    assert "guard.limits: joint: a stop from 90 rad/s would take 45.1 s" in found
