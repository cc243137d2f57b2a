"""A bundle as one file, ``NAME.jetvla``: an uncompressed tar whose bytes depend on its contents alone."""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

from jetvla.runtime.errors import BundleError


def pack(folder: Path, archive: Path) -> None:
    """Write ``folder`` to ``archive``: sorted members, no owners, fixed times and modes. Appears atomically."""
    partial = archive.with_name(f".{archive.name}.partial")
    try:
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(folder.iterdir()):
                member = tarfile.TarInfo(path.name)
                member.size, member.mode, member.mtime = path.stat().st_size, 0o644, 0
                with path.open("rb") as file:
                    tar.addfile(member, file)
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path) -> None:
    """Write the members of ``archive`` into the empty ``folder``.

    Raises:
        BundleError: if it is no tar, or holds anything but plain files at its top.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not member.isfile() or PurePosixPath(member.name).name != member.name:
                    raise BundleError(f"{archive}: {member.name!r} is not a plain file at the top of the archive")
                source = tar.extractfile(member)
                assert source is not None  # isfile() members always have contents
                with source, (folder / member.name).open("xb") as file:
                    while piece := source.read(1 << 20):
                        file.write(piece)
    except tarfile.TarError as error:
        raise BundleError(f"{archive} is not a packed bundle ({error}); copy it again") from error
