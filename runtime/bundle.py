"""A bundle: a folder that holds one policy, whole and unaltered, or it is not opened at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from jetvla.runtime.errors import BundleError
from jetvla.runtime.keys import TrustedKey, find_signer
from jetvla.runtime.manifest import SCHEMA_VERSION, FileSpec, Manifest

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
ARCHIVE_SUFFIX = ".jetvla"
_CHUNK = 1 << 20
# Mistakes that one message names.
_SHOWN = 5


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: its folder.
        manifest: what it holds.
        digest: SHA-256 of ``manifest.json``, hexadecimal; through the manifest it covers every file.
        signer: the trusted key that signed it; None when the signature was not asked for.
    """

    path: Path
    manifest: Manifest
    digest: str
    signer: TrustedKey | None

    @classmethod
    def open(cls, path: Path, trusted: tuple[TrustedKey, ...] | None, contents: bool = True) -> Bundle:
        """Check every file's digest, and the signature unless ``trusted`` is None.

        Args:
            contents: False for a process that uses the manifest and no other file: the files must be there, and what
                is in them, a gigabyte perhaps, is not read.

        Raises:
            BundleError: naming the first thing that is wrong and what to do.
        """
        if path.is_file() and path.suffix != ARCHIVE_SUFFIX:
            raise BundleError(f"{path} is a file, and no bundle's folder; make one with 'jetvla build'")
        if path.is_file():
            raise BundleError(f"{path} is a packed bundle; unpack it first: tar -xf {path.name} -C FOLDER")
        if not (path / MANIFEST).is_file():
            raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}; make one with 'jetvla build'")
        raw = (path / MANIFEST).read_bytes()
        signer = None if trusted is None else _check_signature(path, raw, trusted)
        manifest = parse_manifest(raw, path / MANIFEST)
        _check_names(path, manifest)
        if contents:
            _check_contents(path, manifest)
        return cls(path, manifest, hashlib.sha256(raw).hexdigest(), signer)

    def file(self, name: str) -> Path:
        """Path of a file that the manifest lists; KeyError if it lists none such."""
        if name not in self.manifest.files:
            raise KeyError(name)
        return self.path / name


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """Read a manifest; BundleError names each wrong field."""
    try:
        version = json.loads(raw).get("schema_version")
    except (ValueError, AttributeError) as error:
        raise BundleError(f"{path} is not a JSON object ({error}); the bundle is damaged, copy it again") from error
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema_version is {version!r}, and this jetvla reads {SCHEMA_VERSION}; "
            "build the bundle again, or install the jetvla that it was built for"
        )
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']}" for e in error.errors()]
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise BundleError(f"{path}: {'; '.join(problems[:_SHOWN])}{more}; build the bundle again") from error


def digest_file(path: Path) -> FileSpec:
    """SHA-256 and size of one file, read in pieces."""
    sha, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            sha.update(piece)
            size += len(piece)
    return FileSpec(sha256=sha.hexdigest(), size=size)


def _digests(folder: Path, names: Sequence[str]) -> Iterator[FileSpec]:
    """Digests of files in the order of ``names``, found on all cores: SHA-256 lets go of the interpreter."""
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(lambda name: digest_file(folder / name), names)


def digest_files(folder: Path) -> dict[str, FileSpec]:
    """Digest of every file of a bundle folder but the manifest and its signature, sorted by name."""
    names = sorted(p.name for p in folder.iterdir() if p.name not in (MANIFEST, SIGNATURE))
    return {name: digest_file(folder / name) for name in names}


def _check_signature(path: Path, raw: bytes, trusted: tuple[TrustedKey, ...]) -> TrustedKey:
    if not (path / SIGNATURE).is_file():
        raise BundleError(
            f"{path}: {SIGNATURE} is missing, so the bundle is unsigned; sign it with 'jetvla bundle sign'"
        )
    return find_signer(raw, (path / SIGNATURE).read_bytes(), trusted)


def _check_names(path: Path, manifest: Manifest) -> None:
    unsafe = [name for name in manifest.files if Path(name).name != name]
    if unsafe:
        raise BundleError(f"{path}: {MANIFEST} names files outside the bundle: {', '.join(unsafe)}")
    present = {p.name for p in path.iterdir()} - {MANIFEST, SIGNATURE}
    for name in manifest.files:
        if name not in present:
            raise BundleError(f"{path}: {name} is missing; copy the bundle again")
    extra = sorted(present - manifest.files.keys())
    if extra:
        raise BundleError(f"{path}: {', '.join(extra)} not listed in {MANIFEST}; remove what does not belong there")


def _check_contents(path: Path, manifest: Manifest) -> None:
    for (name, expected), actual in zip(manifest.files.items(), _digests(path, list(manifest.files)), strict=True):
        if actual != expected:
            what = "size" if actual.size != expected.size else "content"
            raise BundleError(f"{path}: {name} is altered (its {what} differs from the manifest); copy it again")
