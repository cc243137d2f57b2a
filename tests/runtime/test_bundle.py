"""A bundle opens whole, unaltered and signed by a trusted key, or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import tarfile
from pathlib import Path

import pytest

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import MANIFEST, SIGNATURE, Bundle, digest_files, parse_manifest
from jetvla.runtime.errors import BundleError, ConfigError
from jetvla.runtime.keys import TrustedKey, create_key_pair, load_private_key, load_public_key, load_trusted, sign


def manifest_of(folder: Path) -> dict[str, object]:
    tensor = {"dtype": "float32", "shape": [1, 1, 1]}
    graph = {"inputs": {"image_front": {"dtype": "uint8", "shape": [1, 8, 8, 3]}}, "outputs": {"actions": tensor}}
    return {
        "schema_version": 1,
        "version": 1,
        "name": "trial",
        "family": "end_to_end",
        "action": {
            "dimensions": [
                {"name": "x", "quantity": "linear", "unit": "m/s", "semantics": "velocity", "frame": "base_link"}
            ]
        },
        "cameras": [{"name": "front", "height": 8, "width": 8}],
        "horizon": 1,
        "dt_s": 0.1,
        "replan_s": 0.1,
        "resize": {"method": "opencv_area", "fit": "stretch"},
        "graphs": {"step.fp32": {"file": "step.fp32.onnx", **graph}},
        "normalization": {"mean": [0.0], "std": [1.0]},
        "golden": {"count": 1, "scale": [1.0], "moving": [True], "tolerance": {"fp32": 1e-3}},
        "parity": {"samples": 1, "max": [0.0], "mean": [0.0]},
        "builder": {"jetvla": "0"},
        "files": {name: spec.model_dump() for name, spec in digest_files(folder).items()},
    }


def write_manifest(folder: Path, manifest: dict[str, object], key: Path) -> None:
    raw = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(raw)
    (folder / SIGNATURE).write_bytes(sign(raw, load_private_key(key)))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return create_key_pair("builder", tmp_path / "keys")[0]


@pytest.fixture
def trusted(key: Path) -> tuple[TrustedKey, ...]:
    return load_trusted(key.parent)


@pytest.fixture
def folder(tmp_path: Path, key: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "step.fp32.onnx").write_bytes(b"graph" * 1000)
    (folder / "golden.npz").write_bytes(b"golden")
    write_manifest(folder, manifest_of(folder), key)
    return folder


def test_a_whole_bundle_opens_and_names_its_signer(folder: Path, trusted: tuple[TrustedKey, ...]) -> None:
    bundle = Bundle.open(folder, trusted)
    assert bundle.signer is not None
    assert bundle.signer.name == "builder"
    assert bundle.manifest.step_precisions == ("fp32",)
    assert bundle.file("golden.npz").read_bytes() == b"golden"


@pytest.mark.parametrize("name", ["step.fp32.onnx", "golden.npz"])
def test_one_flipped_bit_is_found_and_the_file_named(folder: Path, trusted: tuple[TrustedKey, ...], name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is altered"):
        Bundle.open(folder, trusted)
    # Who uses the manifest alone does not look into the files.
    assert Bundle.open(folder, trusted, contents=False).manifest.name == "trial"


def test_a_flipped_bit_of_the_manifest_breaks_the_signature(folder: Path, trusted: tuple[TrustedKey, ...]) -> None:
    raw = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(raw.replace(b'"trial"', b'"trual"'))
    said = (
        "not signed by a trusted key.*; or the manifest or its signature was altered or damaged: copy the bundle again"
    )
    for contents in (True, False):
        with pytest.raises(BundleError, match=said):
            Bundle.open(folder, trusted, contents)


@pytest.mark.parametrize("name", ["step.fp32.onnx", SIGNATURE, MANIFEST])
def test_a_missing_file_is_named(folder: Path, trusted: tuple[TrustedKey, ...], name: str) -> None:
    (folder / name).unlink()
    for contents in (True, False):
        with pytest.raises(BundleError, match=name):
            Bundle.open(folder, trusted, contents)


def test_a_file_that_the_manifest_does_not_list_is_named(folder: Path, trusted: tuple[TrustedKey, ...]) -> None:
    (folder / "extra.bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"extra\.bin"):
        Bundle.open(folder, trusted)


def test_a_key_that_is_not_trusted_is_refused(folder: Path, tmp_path: Path) -> None:
    _, public = create_key_pair("stranger", tmp_path / "other")
    with pytest.raises(BundleError, match="stranger"):
        Bundle.open(folder, (load_public_key(public),))
    with pytest.raises(BundleError, match="none at all"):
        Bundle.open(folder, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version is 2"),
        ({"colour": "red"}, "colour"),
        ({"horizon": 0}, "horizon"),
        ({"graphs": {}}, "step.fp32 is missing"),
        ({"files": {}}, "no digest of"),
        (
            {"normalization": {"mean": [0.0, 0.0], "std": [1.0]}, "parity": {"samples": 1, "max": [], "mean": [0.0]}},
            r"normalization\.mean, parity\.max must have 1 numbers",
        ),
    ],
)
def test_a_wrong_manifest_is_refused_by_field(
    folder: Path, key: Path, trusted: tuple[TrustedKey, ...], change: dict[str, object], message: str
) -> None:
    write_manifest(folder, manifest_of(folder) | change, key)
    with pytest.raises(BundleError, match=message):
        Bundle.open(folder, trusted)


def test_the_error_of_a_graph_that_overflowed_is_read_back(
    folder: Path, key: Path, trusted: tuple[TrustedKey, ...]
) -> None:
    report = {"precision": "fp16", "written": False, "reason": "not finite", "held_out": "held-out episodes"}
    report |= {"error": {"samples": 1, "max": [math.inf], "mean": [math.nan]}}
    report |= {"relative_error": math.inf, "tolerance": [0.1], "tolerance_share": math.nan}
    write_manifest(folder, manifest_of(folder) | {"precision": [report]}, key)
    manifest = Bundle.open(folder, trusted).manifest
    again = parse_manifest(manifest.model_dump_json().encode(), folder / MANIFEST)
    assert math.isnan(again.precision[0].error.mean[0])
    assert again.precision[0].relative_error == math.inf


def test_a_manifest_may_not_reach_outside_its_folder(folder: Path, key: Path, trusted: tuple[TrustedKey, ...]) -> None:
    manifest = manifest_of(folder)
    files = {name: spec.model_dump() for name, spec in digest_files(folder).items()}
    write_manifest(folder, manifest | {"files": files | {"../golden.npz": files["golden.npz"]}}, key)
    with pytest.raises(BundleError, match="outside the bundle"):
        Bundle.open(folder, trusted)


def test_packing_gives_the_same_bytes_and_unpacking_the_same_bundle(
    folder: Path, tmp_path: Path, trusted: tuple[TrustedKey, ...]
) -> None:
    first, second = tmp_path / "a.jetvla", tmp_path / "b.jetvla"
    pack(folder, first)
    (folder / "golden.npz").touch()
    pack(folder, second)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert Bundle.open(tmp_path / "out", trusted).digest == Bundle.open(folder, trusted).digest


def test_a_file_that_is_too_large_for_an_archive_is_named(folder: Path, tmp_path: Path) -> None:
    with (folder / "golden.npz").open("ab") as file:
        file.truncate(8 << 30)
    with pytest.raises(BundleError, match=r"golden\.npz has 8\.0 GiB.*carry and install the folder"):
        pack(folder, tmp_path / "a.jetvla")
    assert not list(tmp_path.glob("*.jetvla")) + list(tmp_path.glob(".*.partial"))


def test_an_archive_is_on_the_disk_before_it_has_its_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("sync"), real_sync(descriptor))[1])
    monkeypatch.setattr(Path, "replace", lambda path, to: (done.append("replace"), real_replace(path, to))[1])
    pack(folder, tmp_path / "a.jetvla")
    assert done == ["sync", "replace", "sync"]


def test_a_key_pair_is_private_and_never_overwritten(tmp_path: Path) -> None:
    private, _ = create_key_pair("a", tmp_path)
    assert private.stat().st_mode & 0o777 == 0o600
    before = private.read_bytes()
    with pytest.raises(ConfigError, match="already there"):
        create_key_pair("a", tmp_path)
    assert private.read_bytes() == before


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\0"])
def test_a_key_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a key"):
        create_key_pair(name, tmp_path / "keys")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("full_from", [1, 2])
def test_a_full_disk_leaves_no_key(tmp_path: Path, full_from: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) >= full_from:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fsync)
        with pytest.raises(ConfigError, match=r"key a cannot be written into .*: No space left on device"):
            create_key_pair("a", tmp_path)
    assert not list(tmp_path.iterdir())
    create_key_pair("a", tmp_path)


def test_a_key_in_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/keys: Not a directory; make room, or choose another folder"):
        create_key_pair("a", tmp_path / "file/keys")


def test_what_is_no_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.key").write_text("no key")
    (tmp_path / "x.pub").write_text("no key")
    with pytest.raises(ConfigError, match=r"x\.key"):
        load_private_key(tmp_path / "x.key")
    with pytest.raises(ConfigError, match=r"x\.pub"):
        load_trusted(tmp_path)
    with pytest.raises(ConfigError, match="nowhere"):
        load_trusted(tmp_path / "nowhere")
