"""A folder or file that appears whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import ARCHIVE_SUFFIX
from jetvla.runtime.errors import ConfigError

_PARTIAL = ".partial"


@contextmanager
def published(output: Path, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder beside ``output``; when the block ends well, it becomes ``output``.

    An output that ends in ``.jetvla`` becomes one packed file. If the block fails, nothing is left; if the
    process is killed, a hidden ``.partial`` folder is, which the next call for the same output removes.

    Raises:
        ConfigError: if ``output`` exists and ``overwrite`` is not set, or its parent is no folder.
    """
    if not output.parent.is_dir():
        raise ConfigError(f"{output.parent} is not a folder; make it first")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} is already there; add --overwrite to replace it, or choose another -o")
    _remove_abandoned(output)
    partial = output.with_name(f".{output.name}.{os.getpid()}{_PARTIAL}")
    partial.mkdir()
    try:
        yield partial
        _sync(partial)
        if output.suffix == ARCHIVE_SUFFIX:
            pack(partial, output)
        else:
            _put(partial, output)
        _sync_path(output.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(partial: Path, output: Path) -> None:
    old = partial.with_suffix(".old")
    if output.exists():
        output.rename(old)
    partial.rename(output)
    if old.is_dir():
        shutil.rmtree(old)
    elif old.exists():
        old.unlink()


def _remove_abandoned(output: Path) -> None:
    for path in output.parent.glob(f".{output.name}.*{_PARTIAL}"):
        owner = path.name.split(".")[-2]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(path)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        _sync_path(path)
    _sync_path(folder)


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
