"""Bundles as a user names them on the command line: a folder, or a packed ``.jetvla`` file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.errors import BundleError
from jetvla.runtime.keys import NAME_ANOTHER, TrustedKey, load_trusted
from jetvla.services.store.hold import held
from jetvla.services.store.source import open_source, verify


@contextmanager
def opened(path: Path, trusted: Path | None) -> Iterator[Bundle]:
    """Open a bundle for as long as the context lasts; a packed one is unpacked to a temporary folder.

    Raises:
        BundleError: if a file is missing or altered, or no key of the folder ``trusted`` signed it
            (``trusted`` None skips the signature).
    """
    keys = None if trusted is None else load_trusted(trusted, NAME_ANOTHER)
    with ExitStack() as stack:
        yield _opened(path, keys, stack)


def _opened(path: Path, keys: tuple[TrustedKey, ...] | None, stack: ExitStack) -> Bundle:
    try:
        if not path.is_file():
            # A link of the store may point elsewhere soon; the folder that it points to now stays while it is held.
            folder = path.resolve() if path.is_symlink() else path
            stack.enter_context(held(folder))
            return Bundle.open(folder, keys)
        # Nothing is unpacked before the signature and every file were checked.
        source = verify(open_source(path), keys, signed=keys is not None).source
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jetvla-")))
        for name in source.sizes:
            with (folder / name).open("xb") as file:
                file.writelines(source.pieces(name))
        return Bundle.open(folder, keys)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be opened ({error.strerror}: {error.filename or tempfile.tempdir}); give this user access "
            "to it, or make room for what is unpacked, where the environment variable TMPDIR says"
        ) from error
