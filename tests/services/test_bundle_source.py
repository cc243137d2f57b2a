"""A bundle as it is named on the command line, packed or not."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import SIGNATURE
from jetvla.runtime.errors import BundleError
from jetvla.runtime.keys import create_key_pair
from jetvla.services.bundle_source import opened

from .bundles import Maker


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where packed bundles are unpacked."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_packed_bundle_is_the_one_that_was_packed_and_leaves_nothing(
    make: Maker, tmp_path: Path, place: Path
) -> None:
    pack(make(1), tmp_path / "b.jetvla")
    with opened(tmp_path / "made-1", make.keys) as folder, opened(tmp_path / "b.jetvla", make.keys) as packed:
        assert (packed.digest, packed.signer) == (folder.digest, folder.signer)
        assert packed.path.parent == place
    assert list(place.iterdir()) == []


def test_nothing_is_unpacked_before_it_is_verified(make: Maker, tmp_path: Path, place: Path) -> None:
    strange, _ = create_key_pair("strange", tmp_path / "elsewhere")
    pack(make(1, key=strange), tmp_path / "strange.jetvla")
    place.rmdir()
    with (
        pytest.raises(BundleError, match="not signed by a trusted key"),
        opened(tmp_path / "strange.jetvla", make.keys),
    ):
        pass


def test_an_archive_that_grows_is_refused(make: Maker, tmp_path: Path, place: Path) -> None:
    """A sparse member of GNU's tar: a few bytes on the disk, and as many zeros as it likes."""
    header = tarfile.TarInfo("hole.onnx")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 0
    raw = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    raw[483:495] = b"%011o\0" % (300 << 20)
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + 8 * 32 + sum(raw[156:512]))
    archive = tmp_path / "sparse.jetvla"
    archive.write_bytes(bytes(raw) + bytes(1024))
    with tarfile.open(archive) as tar:
        assert tar.getmembers()[0].size == 300 << 20
    place.rmdir()
    with pytest.raises(BundleError, match="is not a plain file"), opened(archive, None):
        pass


def test_an_unsigned_one_is_opened_where_no_signature_is_asked_for(make: Maker, tmp_path: Path) -> None:
    folder = make(1)
    (folder / SIGNATURE).unlink()
    pack(folder, tmp_path / "b.jetvla")
    with opened(tmp_path / "b.jetvla", None) as bundle:
        assert bundle.manifest.version == 1
    with pytest.raises(BundleError, match="unsigned"), opened(tmp_path / "b.jetvla", make.keys):
        pass


def test_a_member_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "evil.jetvla"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("../evil")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(BundleError, match="evil"), opened(archive, None):
        pass
    assert not (tmp_path / "evil").exists()
