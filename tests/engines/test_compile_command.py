"""``jetvla compile`` as a user meets it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jetvla.engines import compile as compile_module
from jetvla.runtime.archive import pack
from jetvla.services.cli import main
from jetvla.services.service_manager import Unmanaged


def run(bundle: Path, *arguments: str) -> int:
    return main(["compile", str(bundle), "--backend", "onnxruntime", "--rounds", "2", "--threads", "1", *arguments])


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    return tmp_path / "engines"


def entries(engines: Path) -> list[Path]:
    return sorted(path for path in engines.iterdir() if path.name != ".lock")


def test_it_prints_every_candidate_the_winner_and_where_it_lies(
    signed_bundle: Path, engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = str(signed_bundle.parent / "keys")
    assert run(signed_bundle, "--engines", str(engines), "--trusted", trusted) == 0
    said = capsys.readouterr().out
    for part in ("fp32", "int8-fp32", "fused, float", "chosen", "golden error", "2 rounds in turns"):
        assert part in said
    assert f"engine: {entries(engines)[0]}" in said


def test_what_is_compiled_is_not_compiled_again_unless_asked(
    tiny_bundle: Path, engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--engines", str(engines), "--unsigned")
    run(tiny_bundle, *place)
    before = (entries(engines)[0] / "entry.json").stat().st_ino
    assert run(tiny_bundle, *place) == 0
    assert "compiled before" in capsys.readouterr().out
    assert (entries(engines)[0] / "entry.json").stat().st_ino == before
    assert run(tiny_bundle, *place, "--again") == 0
    assert (entries(engines)[0] / "entry.json").stat().st_ino != before
    assert len(entries(engines)) == 1


def test_a_damaged_engine_is_named_and_made_again(
    tiny_bundle: Path, engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--engines", str(engines), "--unsigned")
    run(tiny_bundle, *place)
    (entries(engines)[0] / "entry.json").write_text("{}")
    assert run(tiny_bundle, *place) == 0
    assert "is damaged" in capsys.readouterr().out
    assert run(tiny_bundle, *place) == 0
    assert "compiled before" in capsys.readouterr().out


def test_a_configuration_names_bundle_keys_and_folder(signed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = signed_bundle.parent
    settings = {
        "bundle": "bundle",
        "trusted": "keys",
        "cameras": {"front": {"kind": "frames", "path": "pictures"}},
        "policy": {"backend": "onnxruntime", "threads": 1, "engines": "here"},
    }
    (place / "jetvla.yaml").write_text(yaml.safe_dump(settings))
    assert main(["compile", "--config", str(place / "jetvla.yaml"), "--rounds", "1"]) == 0
    assert len(entries(place / "here")) == 1
    assert "random-tiny 1 runs on onnxruntime" in capsys.readouterr().out


def test_check_builds_nothing_and_says_by_its_status(
    tiny_bundle: Path, engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--engines", str(engines), "--unsigned")
    assert run(tiny_bundle, *place, "--check") == 1
    assert "there is no engine for this machine" in capsys.readouterr().out
    assert not engines.exists()
    run(tiny_bundle, *place)
    assert run(tiny_bundle, *place, "--check") == 0
    (entries(engines)[0] / "entry.json").write_text("{}")
    assert run(tiny_bundle, *place, "--check") == 1


def test_the_service_manager_sees_every_step_and_waits_for_it(
    tiny_bundle: Path, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Unmanaged, "notify", lambda self, message: told.append(message))
    run(tiny_bundle, "--engines", str(engines), "--unsigned")
    counted = [re.fullmatch(r"STATUS=building (\d+)/(\d+): .+\nEXTEND_TIMEOUT_USEC=\d+", line) for line in told]
    steps = [(int(found[1]), int(found[2])) for found in counted if found]
    assert len(steps) == len(told)
    totals = {total for _, total in steps}
    assert sorted({done for done, _ in steps}) == list(range(1, max(totals) + 1))
    assert len(totals) == 1


def test_a_packed_bundle_has_the_same_engine(tiny_bundle: Path, engines: Path, tmp_path: Path) -> None:
    run(tiny_bundle, "--engines", str(engines), "--unsigned")
    before = entries(engines)
    pack(tiny_bundle, tmp_path / "tiny.jetvla")
    assert run(tmp_path / "tiny.jetvla", "--engines", str(engines), "--unsigned", "--again") == 0
    assert entries(engines) == before


def test_an_unsigned_bundle_is_refused_unless_said(
    tiny_bundle: Path, signed_bundle: Path, engines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted = str(signed_bundle.parent / "keys")
    assert run(tiny_bundle, "--engines", str(engines), "--trusted", trusted) == 1
    assert "manifest.sig is missing" in capsys.readouterr().err
    assert not engines.exists()


def test_nothing_to_compile_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile"]) == 1
    assert "say which BUNDLE" in capsys.readouterr().err


def test_tensorrt_without_a_gpu_names_what_is_missing(tiny_bundle: Path, engines: Path) -> None:
    """In a process of its own, so that whatever is installed here is asked for real."""
    code = "import sys; sys.modules['tensorrt'] = None; from jetvla.services.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "compile", str(tiny_bundle), "--engines", str(engines), "--unsigned"]
    ran = subprocess.run([*command, "--backend", "tensorrt"], check=False, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "needs TensorRT, which is not installed; install it with: " in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not engines.exists()


def test_ctrl_c_leaves_nothing(
    tiny_bundle: Path, engines: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compile_module, "environment", lambda: signal.raise_signal(signal.SIGINT))
    assert run(tiny_bundle, "--engines", str(engines), "--unsigned") == 130
    assert "interrupted" in capsys.readouterr().err
    assert entries(engines) == []


@pytest.mark.parametrize("wrong", [("--rounds", "0"), ("--optimization-level", "6"), ("--workspace", "-1")])
def test_impossible_options_are_wrong_usage(tiny_bundle: Path, wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(tiny_bundle, *wrong)
    assert caught.value.code == 2
