"""The ``jetvla`` command as a user meets it: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from jetvla.runtime.keys import create_key_pair
from jetvla.services.cli import COMMANDS, main


def verify(bundle: Path) -> int:
    return main(["verify", str(bundle), "--trusted", str(bundle.parent / "keys")])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "usage: jetvla " + command in capsys.readouterr().out


def test_an_unknown_command_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fly"])
    assert caught.value.code == 2


def test_verify_names_the_signer(signed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(signed_bundle) == 0
    assert "signed by test" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["step.fp32.onnx", "step.int8-fp32.onnx", "tokenizer.json", "golden.npz"])
def test_verify_refuses_one_flipped_bit_and_names_the_file(
    signed_bundle: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((signed_bundle / name).read_bytes())
    content[100] ^= 1
    (signed_bundle / name).write_bytes(content)
    assert verify(signed_bundle) == 1
    assert f"{name} is altered" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["step.fp32.onnx", "manifest.sig", "manifest.json"])
def test_verify_refuses_a_missing_file_and_names_it(
    signed_bundle: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (signed_bundle / name).unlink()
    assert verify(signed_bundle) == 1
    assert name in capsys.readouterr().err


def test_verify_refuses_an_unknown_signer(
    signed_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_key_pair("other", tmp_path / "others")
    assert main(["verify", str(signed_bundle), "--trusted", str(tmp_path / "others")]) == 1
    assert "not signed by a trusted key" in capsys.readouterr().err


def test_keys_are_made_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "mine", "--dir", str(tmp_path)]) == 0
    assert (tmp_path / "mine.key").stat().st_mode & 0o077 == 0
    capsys.readouterr()
    assert main(["keys", "list", str(tmp_path)]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["keys", "new", "mine", "--dir", str(tmp_path)]) == 1
    assert "already there" in capsys.readouterr().err


def test_inspect_prints_units_and_graphs(signed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(signed_bundle)]) == 0
    shown = capsys.readouterr().out
    for words in ("m/s", "rad/s", "velocity", "step.int8-fp32", "pillow_bilinear"):
        assert words in shown
    assert main(["inspect", str(signed_bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "random-tiny"


def test_a_wrong_configuration_is_refused_by_every_command_that_takes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "jetvla.yaml"
    config.write_text("bundle: x\ncameras: {front: {kind: ros}}\nguard: {rate_hz: 9000}\n")
    for words in (["run"], ["arm"], ["status"], ["say", "hello"]):
        assert main([*words, "--config", str(config)]) == 1
        assert f"{config}:3: guard.rate_hz" in capsys.readouterr().err
    assert main(["config", "check", str(config)]) == 1


def test_config_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert "cameras" in json.loads(capsys.readouterr().out)["properties"]


@pytest.mark.parametrize("words", [["arm"], ["disarm"], ["say", "hello"]])
def test_a_guard_without_a_ros_node_is_not_asked(
    configured: Callable[..., Path], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--config", str(configured()), "--timeout", "0.1"]) == 1
    assert "the guard has no ROS node" in capsys.readouterr().err


def test_status_without_a_guard_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "jetvla.yaml"
    config.write_text("bundle: x\nrun_dir: run\ncameras: {front: {kind: ros}}\n")
    assert main(["status", "--config", str(config)]) == 1
    assert "start it with 'jetvla run'" in capsys.readouterr().err


def test_doctor_says_what_is_missing_and_how_to_mend_it(
    signed_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "jetvla.yaml"
    text = "bundle: bundle\ntrusted: {}\nrun_dir: run\ncameras: {{front: {{kind: video, path: {}}}}}\n"
    config.write_text(text.format("keys", "nowhere.mp4") + "guard: {outputs: [{kind: log, path: x}]}\n")
    assert main(["doctor", "--config", str(config)]) == 1
    shown = "".join(capsys.readouterr().out.split())
    assert "nowhere.mp4" in shown
    assert "correctthepath" in shown
    assert "powerandheat" in shown
    (tmp_path / "clip.mp4").touch()
    config.write_text(text.format("keys", "clip.mp4") + "guard: {outputs: [{kind: log, path: x}]}\n")
    assert main(["doctor", "--config", str(config)]) == 0


@pytest.mark.parametrize("command", [["config", "schema"], ["keys", "list", "keys"]])
def test_a_reader_that_goes_away_is_no_error(signed_bundle: Path, command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "jetvla.services", *command],
        cwd=signed_bundle.parent,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


@pytest.mark.parametrize("command", [["config", "schema"], ["inspect", "bundle"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_output_is_one_line(signed_bundle: Path, command: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "jetvla.services", *command],
            cwd=signed_bundle.parent,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert ended.stderr == "jetvla: No space left on device: standard output, or a file that was being written\n"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"jetvla {version('jetvla')}\n"


def test_a_pipe_to_another_program_that_breaks_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("jetvla.services.commands.keys.run", broken)
    with (tmp_path / "output").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(BrokenPipeError):
            main(["keys", "list", "keys"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("fleet publish r b --keys k --percent 200", "argument --percent: 200 is not between 0 and 100 percent"),
        ("fleet publish r b --keys k --percent x", "argument --percent: x is not between 0 and 100 percent"),
        ("fleet init r --keys k --expires root=x", "argument --expires: root=x is not ROLE=DAYS with a role of root,"),
        ("compile b --rounds 0", "argument --rounds: 0 is no whole number of at least 1"),
        ("compile b --workspace x", "argument --workspace: x is no whole number of at least 1"),
    ],
)
def test_a_number_out_of_range_is_told_the_range(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("words", ["verify bundle", "inspect bundle", "profile bundle", "profile bundle --layers"])
def test_without_trusted_keys_another_folder_can_be_named(
    signed_bundle: Path, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(signed_bundle.parent)
    assert main([*words.split(), "--trusted", "none"]) == 1
    assert "copy a .pub file into it, or name another with --trusted DIR" in capsys.readouterr().err
