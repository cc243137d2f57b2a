"""A bundle as one file, ``NAME.jetvla``: an uncompressed tar whose bytes depend on its contents alone."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from jetvla.runtime.disk import sync
from jetvla.runtime.errors import BundleError

# What a USTAR header can say: eleven octal digits.
_LARGEST = 8**11 - 1


def pack(folder: Path, archive: Path) -> None:
    """Write ``folder`` to ``archive``: sorted members, no owners, fixed times and modes. Appears whole, on the disk.

    Raises:
        BundleError: if a file is too large for an archive.
    """
    files = sorted(folder.iterdir())
    for path in files:
        if path.stat().st_size > _LARGEST:
            raise BundleError(
                f"{path} has {path.stat().st_size / 2**30:.1f} GiB, and a packed bundle holds files below 8 GiB alone; "
                "carry and install the folder"
            )
    partial = archive.with_name(f".{archive.name}.partial")
    try:
        with partial.open("wb") as out:
            with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for path in files:
                    member = tarfile.TarInfo(path.name)
                    member.size, member.mode, member.mtime = path.stat().st_size, 0o644, 0
                    with path.open("rb") as file:
                        tar.addfile(member, file)
            out.flush()
            os.fsync(out.fileno())
        partial.replace(archive)
        sync(archive.parent)
    finally:
        partial.unlink(missing_ok=True)
