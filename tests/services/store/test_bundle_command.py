"""``jetvla bundle`` as a user meets it."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
import yaml

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import SIGNATURE, Bundle
from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.errors import BundleError, StoreError
from jetvla.runtime.keys import create_key_pair, load_trusted
from jetvla.runtime.telemetry.status import Status, write_status
from jetvla.services.cli import main
from jetvla.services.commands import bundle as command
from jetvla.services.store import self_test
from jetvla.services.store.changes import changing
from jetvla.services.store.source import open_source, verify
from jetvla.services.store.store import Store

from ..bundles import Maker


@pytest.fixture
def config(make: Maker, tmp_path: Path) -> Path:
    settings = {
        "bundle": "current",
        "store": "store",
        "trusted": "keys",
        "cameras": {"front": {"kind": "frames", "path": "pictures"}},
        "policy": {"threads": 1, "engines": "engines"},
    }
    (tmp_path / "jetvla.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "jetvla.yaml"


def run(config: Path, *arguments: str) -> int:
    return main(["bundle", *arguments, "--config", str(config)])


def test_from_a_packed_file_to_a_rollback(
    make: Maker, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "first.jetvla"
    assert main(["bundle", "pack", str(make(1)), "-o", str(packed), "--trusted", str(make.keys)]) == 0
    said = capsys.readouterr().out
    assert "version 1, digest " in said
    assert "signed by test" in said
    assert run(config, "install", str(packed)) == 0
    said = capsys.readouterr().out
    assert "golden samples: error " in said
    assert "current, and on trial" in said
    store = Store(tmp_path / "store")
    first = store.current
    assert first is not None
    with changing(store) as changes:
        changes.commit(first)
    assert run(config, "install", str(make(2))) == 0
    capsys.readouterr()
    assert run(config, "list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines[first].endswith("random-tiny version 1  previous, committed")
    assert "random-tiny version 2  current, on trial since 20" in lines[str(store.current)]
    second = str(store.current)
    assert run(config, "rollback") == 0
    assert store.current == first
    assert run(config, "activate", second[:8]) == 0
    assert store.current == second
    assert run(config, "rollback") == 0
    assert run(config, "remove", second[:8]) == 0
    assert [bundle.digest for bundle in store.installed()] == [first]


def test_refusals_are_one_line_and_status_1(
    make: Maker, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config, "install", str(make(2)))
    store = Store(tmp_path / "store")
    with changing(store) as changes:
        changes.commit(str(store.current))
    older = make(1)
    wrong = make(3, wrong=True)
    capsys.readouterr()
    for arguments, text in (
        (["install", str(older)], "version 1 is not above 2"),
        (["install", str(wrong)], "does not compute its golden samples"),
        (["install", str(tmp_path / "none")], "neither a bundle's folder nor a packed bundle"),
        (
            ["install", str(older), "--trusted", str(tmp_path / "none")],
            "a .pub file into it, or name another with --trusted DIR",
        ),
        (["rollback"], "there is no previous bundle"),
        (["activate", "123456"], "is no bundle of the store"),
        (["remove", str(store.current)], "it is the current one"),
    ):
        assert run(config, *arguments) == 1
        error = capsys.readouterr().err
        assert text in error
        assert len(error.splitlines()) == 1
    assert run(config, "install", str(older), "--allow-downgrade") == 0
    assert run(config, "install", str(wrong), "--skip-golden") == 0
    assert [e.detail for e in store.history.entries() if e.detail] == [
        "downgrade allowed: version 1, and 2 was committed",
        "downgrade allowed: version 1, and 2 was committed",
        "golden samples skipped",
    ]


@pytest.mark.parametrize("state", ["ARMED", "STOPPING", "LATCHED", "DISARMED"])
def test_no_golden_sample_runs_beside_a_robot_that_moves(
    make: Maker, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    config.write_text(config.read_text() + "run_dir: run\n")
    (tmp_path / "run").mkdir()
    now_ns = MonotonicClock().now_ns()
    report = Status(now_ns, os.getpid(), state, "", "ab" * 32, None, "", "", 0, 0, {}, {}, [])
    write_status(report, tmp_path / "run/status.json")
    store, bundle = Store(tmp_path / "store"), str(make(1))
    moves = state in ("ARMED", "STOPPING")
    assert run(config, "install", bundle) == int(moves)
    said = capsys.readouterr()
    assert ("golden samples" in said.out) is not moves
    assert (store.current is None) is moves
    if moves:
        assert said.err.startswith(f"jetvla bundle: the robot is {state}, and golden samples")
        assert "'jetvla disarm'" in said.err
        assert len(said.err.splitlines()) == 1
        assert not list((tmp_path / "store").glob(".*.partial"))
        assert run(config, "install", bundle, "--skip-golden") == 0
        assert run(config, "install", str(make(2)), "--while-armed") == 0
        assert "golden samples: error" in capsys.readouterr().out


def test_who_arms_while_a_bundle_is_copied_is_not_disturbed(
    make: Maker, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([None])

    def check(status: Path) -> None:
        if next(answers, status) is not None:
            raise StoreError("the robot is ARMED")

    monkeypatch.setattr(self_test, "check_at_rest", check)
    assert run(config, "install", str(make(1))) == 1
    assert "the robot is ARMED" in capsys.readouterr().err
    assert Store(tmp_path / "store").current is None


def test_a_packed_bundle_is_what_was_packed_and_replaces_nothing_unasked(
    make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, packed = make(1), tmp_path / "b.jetvla"
    pack = ["bundle", "pack", str(bundle), "-o", str(packed), "--trusted", str(make.keys)]
    assert main(pack) == 0
    first = packed.read_bytes()
    assert main(pack) == 1
    assert "already there" in capsys.readouterr().err
    assert main([*pack, "--overwrite"]) == 0
    assert packed.read_bytes() == first, "the same bundle has the same bytes"
    assert verify(open_source(packed), None).digest == Bundle.open(bundle, None).digest
    for arguments, text in (
        ([str(tmp_path / "keys"), "-o", str(packed), "--overwrite"], "is not a bundle"),
        ([str(bundle / "golden.npz"), "-o", str(packed), "--overwrite"], "is a file, and no bundle's folder"),
        ([str(packed), "-o", str(tmp_path / "c.jetvla")], "is a packed bundle; unpack it first"),
        ([str(bundle), "-o", str(tmp_path / "b.tar")], r"does not end in .jetvla"),
        ([str(bundle), "-o", str(bundle / "b.jetvla")], "would lie within the bundle"),
    ):
        assert main(["bundle", "pack", *arguments]) == 1
        assert text in capsys.readouterr().err
    assert packed.read_bytes() == first
    assert Bundle.open(bundle, None)


def test_a_signature_is_verified_before_packing_and_an_unsigned_bundle_is_said_to_be(
    make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, packed = make(1), tmp_path / "b.jetvla"
    pack, trusted = ["bundle", "pack", str(bundle), "-o", str(packed)], ["--trusted", str(make.keys)]
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 3'))
    for arguments, words in (([], "--trusted DIR"), (trusted, "not signed by a trusted key")):
        assert main([*pack, *arguments]) == 1
        assert words in capsys.readouterr().err
    (bundle / "manifest.sig").unlink()
    assert main([*pack, *trusted]) == 1
    assert not packed.exists()
    capsys.readouterr()
    assert main(pack) == 0
    assert "unsigned: no device installs it" in capsys.readouterr().out


def test_a_bundle_is_signed_after_it_was_built(
    make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, packed, trusted = make(1), tmp_path / "b.jetvla", load_trusted(make.keys)
    (bundle / SIGNATURE).unlink()
    pack(bundle, packed)
    create_key_pair("other", tmp_path / "others")
    for path in (bundle, packed):
        sign = ["bundle", "sign", str(path), "--key"]
        assert main([*sign, str(tmp_path / "others" / "other.key")]) == 0
        with pytest.raises(BundleError, match="not signed by a trusted key"):
            verify(open_source(path), trusted)
        assert main([*sign, str(make.key)]) == 1
        assert "--overwrite" in capsys.readouterr().err
        assert main([*sign, str(make.key), "--overwrite"]) == 0
        verify(open_source(path), trusted)
    kept = (bundle / SIGNATURE).read_bytes()
    before = sorted(tmp_path.rglob("*"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    other = str(tmp_path / "others" / "other.key")
    capsys.readouterr()
    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        assert main(["bundle", "sign", str(bundle), "--key", other, "--overwrite"]) == 1
    assert f"cannot be signed (No space left on device: {bundle.parent})" in capsys.readouterr().err
    assert (bundle / SIGNATURE).read_bytes() == kept
    assert sorted(tmp_path.rglob("*")) == before
    (bundle / "golden.npz").write_bytes(b"rot")
    (bundle / SIGNATURE).unlink()
    capsys.readouterr()
    assert main(["bundle", "sign", str(bundle), "--key", str(make.key)]) == 1
    assert "golden.npz is altered" in capsys.readouterr().err
    assert not (bundle / SIGNATURE).exists()


def test_a_device_without_a_configuration_takes_options(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "DEFAULT_CONFIG", tmp_path / "none.yaml")
    place = ["--store", str(tmp_path / "store")]
    install = ["bundle", "install", str(make(1)), "--trusted", str(make.keys), *place]
    assert main([*install, "--skip-golden", "--no-activate"]) == 0
    assert "installed, and not current" in capsys.readouterr().out
    assert main(["bundle", "list", *place]) == 0
    assert "random-tiny version 1" in capsys.readouterr().out
    assert main(["bundle", "list", "--store", str(tmp_path / "empty")]) == 0
    assert "no bundle is installed in" in capsys.readouterr().out
    assert not (tmp_path / "empty").exists()


def test_other_commands_know_the_store_too(
    make: Maker, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config, "install", str(make(1)))
    assert main(["verify", str(tmp_path / "store" / "current"), "--trusted", str(make.keys)]) == 0
    assert main(["compile", "--config", str(config), "--rounds", "1", "--backend", "onnxruntime"]) == 0
    assert "random-tiny 1 runs on onnxruntime" in capsys.readouterr().out


def test_what_was_set_aside_is_in_the_journal(
    make: Maker, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        # A path of a socket may have 107 bytes.
        with tempfile.TemporaryDirectory() as short:
            journal.bind(f"{short}/log")
            monkeypatch.setattr(command, "_JOURNAL", Path(short) / "log")
            assert run(config, "install", str(make(1)), "--skip-golden") == 0
        assert b"jetvla: random-tiny version 1 (" in (line := journal.recv(4096))
        assert b"installed: golden samples skipped" in line
