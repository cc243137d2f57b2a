"""Nothing but a whole, signed bundle of plain files is taken for one."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import MANIFEST, SIGNATURE, Bundle
from jetvla.runtime.errors import BundleError
from jetvla.runtime.keys import create_key_pair, load_trusted
from jetvla.services.store.source import ArchiveSource, open_source, verify

from ..bundles import Maker

Change = Callable[[tarfile.TarFile], None]


def packed(folder: Path, archive: Path, change: Change = lambda tar: None, form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(archive, "w", format=form) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
        change(tar)
    return archive


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "") -> Change:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, link, len(content)
        tar.addfile(info, io.BytesIO(content))

    return add


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_signed_bundle_is_verified(make: Maker, tmp_path: Path, form: str) -> None:
    folder = make(3)
    path = folder
    if form == "archive":
        path = tmp_path / "b.jetvla"
        pack(folder, path)
    verified = verify(open_source(path), load_trusted(make.keys))
    assert (verified.manifest.version, verified.digest) == (3, Bundle.open(folder, None).digest)
    assert verified.size == sum(p.stat().st_size for p in folder.iterdir())
    for name in verified.source.sizes:
        assert b"".join(verified.source.pieces(name)) == (folder / name).read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        member("../evil"),
        member("/etc/evil"),
        member("sub/evil"),
        member(".."),
        member("."),
        member(".hidden"),
        member("tab\there"),
        member("a\x1b[31m"),
        member("link", tarfile.SYMTYPE, link="/etc/shadow"),
        member("link", tarfile.LNKTYPE, link="manifest.json"),
        member("folder", tarfile.DIRTYPE),
        member("pipe", tarfile.FIFOTYPE),
        member("disk", tarfile.BLKTYPE),
        member("tty", tarfile.CHRTYPE),
        member("x" * 90 + "/" + "y" * 90),
    ],
)
def test_a_member_that_is_no_plain_file_at_the_top_is_refused(make: Maker, tmp_path: Path, change: Change) -> None:
    archive = packed(make(1), tmp_path / "b.jetvla", change)
    with pytest.raises(BundleError, match="is not a plain file at the top of the archive"):
        open_source(archive)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_headers_that_extend_others_are_refused_unread(make: Maker, tmp_path: Path, form: int) -> None:
    archive = packed(make(1), tmp_path / "b.jetvla", member("n" * 200), form)
    with pytest.raises(BundleError, match="is not a plain file"):
        open_source(archive)


def test_a_member_that_is_there_twice_is_refused(make: Maker, tmp_path: Path) -> None:
    archive = packed(make(1), tmp_path / "b.jetvla", member(MANIFEST, content=b"{}"))
    with pytest.raises(BundleError, match=r"manifest\.json is there twice"):
        open_source(archive)


def test_more_members_than_any_bundle_has_are_refused(tmp_path: Path) -> None:
    def many(tar: tarfile.TarFile) -> None:
        for number in range(1100):
            member(f"f{number}")(tar)

    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="more than 1000 files"):
        open_source(packed(tmp_path / "empty", tmp_path / "b.jetvla", many))


def test_a_size_that_the_file_does_not_have_is_refused(make: Maker, tmp_path: Path) -> None:
    info = tarfile.TarInfo("huge")
    info.size = 1 << 40
    archive = tmp_path / "b.jetvla"
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024)
    with pytest.raises(BundleError, match="ends within huge"):
        open_source(archive)
    info.size = -1
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024)
    with pytest.raises(BundleError, match="is not a plain file"):
        open_source(archive)


def test_cut_at_any_block_it_is_refused(make: Maker, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.jetvla", tmp_path / "cut.jetvla"
    pack(make(1), whole)
    content, trusted = whole.read_bytes(), load_trusted(make.keys)
    end = max(place + size for place, size in ArchiveSource(whole)._places.values())
    for length in [*range(0, end, 4096), 511, end - 1]:
        cut.write_bytes(content[:length])
        with pytest.raises(BundleError):
            verify(open_source(cut), trusted)


def test_a_bundle_is_no_gzip_and_no_text(tmp_path: Path) -> None:
    for name, content in (("a.jetvla", b"\x1f\x8b" + b"z" * 600), ("b.jetvla", b""), ("c.jetvla", b"hello")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleError, match="is no packed bundle"):
            open_source(tmp_path / name)


def test_a_path_that_is_missing_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"neither a bundle's folder nor a packed bundle.*jetvla build"):
        open_source(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match="neither"):
        open_source(tmp_path / "pipe")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_folder_with_more_than_plain_files_is_refused(make: Maker, kind: str) -> None:
    folder = make(1)
    if kind == "link":
        (folder / "step.fp32.onnx").unlink()
        (folder / "step.fp32.onnx").symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(folder / "more")
    else:
        (folder / "more").mkdir()
    with pytest.raises(BundleError, match="is no plain file"):
        open_source(folder)


def test_a_file_that_became_a_link_is_not_followed(make: Maker) -> None:
    source = open_source(folder := make(1))
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to(folder / "golden.npz")
    with pytest.raises(BundleError, match=r"cannot be read \(Too many levels of symbolic links"):
        verify(source, load_trusted(make.keys))


def test_the_signature_is_judged_before_anything_is_parsed(make: Maker) -> None:
    folder = make(1)
    (folder / MANIFEST).write_bytes(b"no JSON at all")
    with pytest.raises(BundleError, match="not signed by a trusted key"):
        verify(open_source(folder), load_trusted(make.keys))


def test_whose_key_is_not_trusted_is_refused(make: Maker, tmp_path: Path) -> None:
    key, _ = create_key_pair("stranger", tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"not signed by a trusted key \(trusted: test"):
        verify(open_source(make(1, key=key)), load_trusted(make.keys))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda f: (f / SIGNATURE).unlink(), "unsigned"),
        (lambda f: (f / MANIFEST).unlink(), "it is no bundle"),
        (lambda f: (f / SIGNATURE).write_bytes(b"x" * 65), "65 bytes, more than 64"),
        (lambda f: (f / "golden.npz").unlink(), r"golden\.npz missing"),
        (lambda f: (f / "more.bin").write_bytes(b"x"), r"more\.bin not listed"),
        (lambda f: (f / "golden.npz").write_bytes(b"x"), "its size differs"),
        (
            lambda f: (f / "golden.npz").write_bytes((f / "golden.npz").read_bytes()[:-1] + b"?"),
            "its content differs",
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_what_is_missing_altered_or_too_much_is_named(
    make: Maker, tmp_path: Path, change: Callable[[Path], object], match: str, form: str
) -> None:
    folder = make(1)
    change(folder)
    path = folder if form == "folder" else packed(folder, tmp_path / "b.jetvla")
    with pytest.raises(BundleError, match=match):
        verify(open_source(path), load_trusted(make.keys))


def test_a_manifest_too_large_for_memory_is_refused_unread(make: Maker) -> None:
    folder = make(1)
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match="more than 16777216"):
        verify(open_source(folder), load_trusted(make.keys))
