"""``jetvla inspect`` as a user meets it: what it prints and writes, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import MANIFEST
from jetvla.runtime.keys import create_key_pair
from jetvla.runtime.manifest import Manifest
from jetvla.services.cli import main


def inspect(*words: object) -> int:
    return main(["inspect", *map(str, words)])


def test_the_terminal_gets_the_receipt(signed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(signed_bundle) == 0
    shown = capsys.readouterr().out
    for words in (
        "Yes, in FP32",
        "Signed, signer not checked",
        "rad/s",
        "step.int8-fp32",
        "pillow_bilinear",
        "golden.npz",
    ):
        assert words in shown


def test_json_is_the_manifest_itself(signed_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(signed_bundle, "--json") == 0
    shown = Manifest.model_validate_json(capsys.readouterr().out)
    assert shown == Manifest.model_validate_json((signed_bundle / MANIFEST).read_bytes())


def test_html_is_written_and_replaced(signed_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "receipt.html"
    path.write_text("old")
    assert inspect(signed_bundle, "--html", path) == 0
    assert str(path) in capsys.readouterr().out
    first = path.read_bytes()
    assert first.startswith(b"<!DOCTYPE html>")
    assert first.endswith(b"</html>")
    packed = tmp_path / "packed.jetvla"
    pack(signed_bundle, packed)
    assert inspect(packed, "--html", path) == 0
    assert path.read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "keys", "packed.jetvla", "receipt.html"]
    assert main(["verify", str(signed_bundle), "--trusted", str(tmp_path / "keys")]) == 0


def test_a_link_stays_a_link(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "receipt.html").symlink_to("elsewhere.html")
    assert inspect(tiny_bundle, "--html", tmp_path / "receipt.html") == 0
    assert (tmp_path / "receipt.html").is_symlink()
    assert (tmp_path / "elsewhere.html").read_text().startswith("<!DOCTYPE html>")


def test_trusted_names_the_signer(signed_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(signed_bundle, "--trusted", tmp_path / "keys", "--html", tmp_path / "receipt.html") == 0
    assert "which is trusted here" in (tmp_path / "receipt.html").read_text()
    assert inspect(signed_bundle, "--trusted", tmp_path / "keys") == 0
    assert "Who signed it? test" in capsys.readouterr().out


def test_trusted_refuses_another_key_and_none(
    signed_bundle: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_key_pair("other", tmp_path / "others")
    for bundle, complaint in ((signed_bundle, "not signed by a trusted key"), (tiny_bundle, "is unsigned")):
        assert inspect(bundle, "--trusted", tmp_path / "others", "--html", tmp_path / "receipt.html") == 1
        assert complaint in capsys.readouterr().err
    assert not (tmp_path / "receipt.html").exists()


def test_a_damaged_bundle_has_no_receipt(
    signed_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (signed_bundle / "golden.npz").open("ab") as file:
        file.write(b"x")
    assert inspect(signed_bundle, "--html", tmp_path / "receipt.html") == 1
    assert "golden.npz is altered" in capsys.readouterr().err
    assert not (tmp_path / "receipt.html").exists()


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("", "is a folder; name a file"),
        ("none/receipt.html", "there is no folder"),
        ("bundle/receipt.html", "would alter the bundle"),
        ("bundle/manifest.json", "would alter the bundle"),
        ("/dev/null", "is not a plain file"),
        ("keys/test.pub/receipt.html", "there is no folder"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(
    signed_bundle: Path, tmp_path: Path, place: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert inspect(signed_bundle, "--html", tmp_path / place) == 1
    message = capsys.readouterr().err
    assert complaint in message
    assert str(tmp_path / place) in message
    assert sorted(tmp_path.rglob("*")) == before


def test_the_packed_bundle_is_not_overwritten_by_its_receipt(
    signed_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "packed.jetvla"
    pack(signed_bundle, packed)
    before = packed.read_bytes()
    assert inspect(packed, "--html", packed) == 1
    assert "would alter the bundle" in capsys.readouterr().err
    assert packed.read_bytes() == before


def test_a_full_disk_leaves_the_old_receipt(tiny_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "receipt.html"
    path.write_text("old")
    # No file may become larger than 8 kB: what a full disk does to a page of 25 kB.
    program = f'ulimit -f 8; exec "{sys.executable}" -m jetvla.services inspect "{tiny_bundle}" --html "{path}"'
    ended = subprocess.run(["bash", "-c", program], capture_output=True, text=True, env=os.environ, check=False)
    assert ended.returncode == 1
    assert f"--html {path} cannot be written: File too large" in ended.stderr
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_one_form_at_a_time(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        inspect(tiny_bundle, "--json", "--html", tmp_path / "receipt.html")
    assert caught.value.code == 2
