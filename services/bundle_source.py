"""Bundles as a user names them on the command line: a folder, or a packed ``.jetvla`` file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jetvla.runtime.archive import unpack
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.keys import load_trusted


@contextmanager
def opened(path: Path, trusted: Path | None) -> Iterator[Bundle]:
    """Open a bundle for as long as the context lasts; a packed one is unpacked to a temporary folder.

    Raises:
        BundleError: if a file is missing or altered, or no key of the folder ``trusted`` signed it
            (``trusted`` None skips the signature).
    """
    keys = None if trusted is None else load_trusted(trusted)
    if not path.is_file():
        yield Bundle.open(path, keys)
        return
    with tempfile.TemporaryDirectory(prefix="jetvla-") as folder:
        unpack(path, Path(folder))
        yield Bundle.open(Path(folder), keys)
