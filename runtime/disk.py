"""Changes of the disk that survive a power cut: synchronised before they are visible, and visible in one rename."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PARTIAL = ".partial"


def hidden(folder: Path) -> Path:
    """A new name in ``folder`` for what is not finished; :func:`remove_abandoned` knows it."""
    return folder / f".{os.urandom(8).hex()}{PARTIAL}"


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left. Only for the holder of the folder's lock."""
    for path in folder.glob(f".*{PARTIAL}"):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Bring a file's contents, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_file(
    path: Path,
    content: bytes,
    mode: int = 0o644,
    owner: tuple[int, int] | None = None,
    aside: Path | None = None,
) -> None:
    """Write or replace a small file.

    Args:
        owner: numbers of user and group; those of this process by default.
        aside: folder on the same disk where it lies until it is whole; that of ``path`` by default.
    """
    partial = hidden(aside or path.parent)
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if owner is not None:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def put_link(path: Path, target: str) -> None:
    """Make ``path`` a symbolic link to ``target``, whatever it pointed to before."""
    partial = hidden(path.parent)
    partial.symlink_to(target)
    partial.replace(path)
    sync(path.parent)


def take_away(path: Path) -> None:
    """Remove a folder, in one rename for everybody who looks."""
    aside = hidden(path.parent)
    path.rename(aside)
    sync(path.parent)
    remove(aside)
