"""What may be installed, a folder or one packed file: looked through and verified before anything of it is written."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from jetvla.runtime.bundle import MANIFEST, SIGNATURE, parse_manifest
from jetvla.runtime.errors import BundleError
from jetvla.runtime.keys import TrustedKey, find_signer
from jetvla.runtime.manifest import FileSpec, Manifest

# Manifests are read into memory: ours have tens of kilobytes.
_MANIFEST_BYTES = 16 << 20
_SIGNATURE_BYTES = 64
_PIECE = 1 << 20
_MEMBERS = 1000


class Source(Protocol):
    """Plain files by name. Nothing else is in one: no folder, link or device, and no name twice."""

    path: Path
    sizes: Mapping[str, int]

    def pieces(self, name: str) -> Iterator[bytes]:
        """The contents of a file. At most its size, and less where it was cut short."""


class FolderSource:
    """The files of a folder.

    Raises:
        BundleError: if something else than plain files is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        modes = {p.name: p.lstat() for p in path.iterdir()}
        for name, mode in modes.items():
            if not stat.S_ISREG(mode.st_mode):
                raise BundleError(f"{path}: {name} is no plain file, and a bundle has no others; remove it")
        self.sizes: Mapping[str, int] = {name: mode.st_size for name, mode in modes.items()}

    def pieces(self, name: str) -> Iterator[bytes]:
        # It may have become a link since it was looked at.
        descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            yield from _read(file, self.sizes[name])


class ArchiveSource:
    """The members of a tar as :func:`jetvla.runtime.archive.pack` writes it: plain USTAR headers, nothing else.

    Raises:
        BundleError: if it is anything else. Headers that extend names, sizes or sparseness are refused unread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        with path.open("rb") as file:
            self._scan(file, os.fstat(file.fileno()).st_size)
        self.sizes: Mapping[str, int] = {name: size for name, (_, size) in self._places.items()}

    def pieces(self, name: str) -> Iterator[bytes]:
        start, size = self._places[name]
        with self.path.open("rb") as file:
            file.seek(start)
            yield from _read(file, size)

    def _scan(self, file: BinaryIO, end: int) -> None:
        block = tarfile.BLOCKSIZE
        while any(header := file.read(block)):
            name, size = self._member(header)
            start = file.tell()
            if start + size > end:
                raise BundleError(f"{self.path} ends within {name}; copy it again")
            self._places[name] = start, size
            file.seek(start + -(-size // block) * block)
        if not header:
            raise BundleError(f"{self.path} is no packed bundle, or is cut short; copy it again")

    def _member(self, header: bytes) -> tuple[str, int]:
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise BundleError(f"{self.path} is no packed bundle ({error}); copy it again") from error
        name = member.name
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not _plain(name) or member.size < 0:
            raise BundleError(f"{self.path}: {name!r} is not a plain file at the top of the archive; pack it again")
        if name in self._places:
            raise BundleError(f"{self.path}: {name} is there twice; pack it again")
        if len(self._places) >= _MEMBERS:
            raise BundleError(f"{self.path} has more than {_MEMBERS} files, and is no bundle")
        return name, member.size


@dataclass(frozen=True, slots=True)
class Verified:
    """A source that is whole.

    Attributes:
        digest: SHA-256 of the manifest.
        size: of all files, bytes.
    """

    source: Source
    manifest: Manifest
    digest: str
    size: int


def open_source(path: Path) -> Source:
    """Look through what lies at ``path``.

    Raises:
        BundleError: if it is no bundle, or cannot be read.
    """
    try:
        if path.is_dir():
            return FolderSource(path)
        if path.is_file():
            return ArchiveSource(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    raise BundleError(f"{path} is neither a bundle's folder nor a packed bundle; make one with 'jetvla build'")


def verify(source: Source, trusted: tuple[TrustedKey, ...] | None, signed: bool = True) -> Verified:
    """Check the signature first, and then every file. ``trusted`` None takes whatever signature is there.

    Args:
        signed: False takes a bundle without a signature too, where ``trusted`` is None.

    Raises:
        BundleError: naming the first thing that is wrong.
    """
    try:
        return _verified(source, trusted, signed)
    except OSError as error:
        raise _unreadable(source.path, error) from error


def _verified(source: Source, trusted: tuple[TrustedKey, ...] | None, signed: bool) -> Verified:
    raw = _small(source, MANIFEST, _MANIFEST_BYTES, "it is no bundle; make one with 'jetvla build'")
    if signed or trusted is not None:
        signature = _small(
            source, SIGNATURE, _SIGNATURE_BYTES, "the bundle is unsigned; sign it with 'jetvla bundle sign'"
        )
        if trusted is not None:
            find_signer(raw, signature, trusted)
    manifest = parse_manifest(raw, source.path / MANIFEST)
    listed, there = manifest.files.keys(), source.sizes.keys() - {MANIFEST, SIGNATURE}
    if missing := sorted(listed - there):
        raise BundleError(f"{source.path}: {', '.join(missing)} missing; copy the bundle again")
    if extra := sorted(there - listed):
        raise BundleError(
            f"{source.path}: {', '.join(extra)} not listed in {MANIFEST}; remove what does not belong there"
        )
    for name, expected in manifest.files.items():
        _check(source, name, expected)
    digest = hashlib.sha256(raw).hexdigest()
    return Verified(source, manifest, digest, sum(source.sizes.values()))


def _unreadable(path: Path, error: OSError) -> BundleError:
    return BundleError(f"{path} cannot be read ({error.strerror}: {error.filename or path}); copy it again")


def _small(source: Source, name: str, limit: int, otherwise: str) -> bytes:
    if name not in source.sizes:
        raise BundleError(f"{source.path} has no {name}: {otherwise}")
    if source.sizes[name] > limit:
        raise BundleError(f"{source.path}: {name} has {source.sizes[name]} bytes, more than {limit}; copy it again")
    return b"".join(source.pieces(name))


def _check(source: Source, name: str, expected: FileSpec) -> None:
    if source.sizes[name] != expected.size:
        raise BundleError(f"{source.path}: {name} is altered (its size differs from the manifest); copy it again")
    sha = hashlib.sha256()
    for piece in source.pieces(name):
        sha.update(piece)
    if sha.hexdigest() != expected.sha256:
        raise BundleError(f"{source.path}: {name} is altered (its content differs from the manifest); copy it again")


def _plain(name: str) -> bool:
    """Whether ``name`` is that of a visible file, in ASCII without anything that a path or a terminal reads."""
    return name.isascii() and name.isprintable() and "/" not in name and not name.startswith(".")


def _read(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (piece := file.read(min(_PIECE, size))):
        size -= len(piece)
        yield piece
