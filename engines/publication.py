"""A folder or file that appears whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import ARCHIVE_SUFFIX
from jetvla.runtime.errors import ConfigError


@contextmanager
def published(output: Path, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder beside ``output``; when the block ends well, it becomes ``output``.

    An output that ends in ``.jetvla`` becomes one packed file. If the block fails, nothing is left; if the
    process is killed, a hidden ``.NAME.new`` (and, while a former output is replaced, ``.NAME.old``) is, which the
    next call for the same output clears up. Two processes never work on the same output at once.

    Raises:
        ConfigError: if ``output`` exists and ``overwrite`` is not set, its parent is no folder, another process is
            writing it, or the disk refuses.
    """
    if not output.parent.is_dir():
        raise ConfigError(f"{output.parent} is not a folder; make it first")
    partial, old = (output.with_name(f".{output.name}.{kind}") for kind in ("new", "old"))
    lock = _begin(output, partial)
    try:
        if old.exists():
            _restore(old, output)
        if output.exists() and not overwrite:
            raise ConfigError(f"{output} is already there; add --overwrite to replace it, or choose another -o")
        yield partial
        _sync(partial)
        if output.suffix == ARCHIVE_SUFFIX:
            pack(partial, output)
        else:
            _put(partial, output, old)
        _sync_path(output.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise ConfigError(
            f"cannot write {output}: {error.strerror}; nothing of it is left: make room, or choose another -o"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)


def _begin(output: Path, partial: Path) -> int:
    """An empty ``partial``, and the descriptor that locks it; one that a dead process left is removed."""
    busy = ConfigError(f"another process is writing {output}; wait for it, or choose another -o")
    try:
        partial.mkdir()
        lock = _locked(partial)
        if lock is not None:
            return lock
        raise busy
    except FileExistsError:
        abandoned = _locked(partial)
    except OSError as error:
        raise ConfigError(f"cannot write beside {output}: {error.strerror}; choose another -o") from error
    if abandoned is None:
        raise busy
    shutil.rmtree(partial)
    os.close(abandoned)
    return _begin(output, partial)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the only lock on ``folder``; None if another process has it or takes it away."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == folder.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _restore(old: Path, output: Path) -> None:
    """After a kill between the two renames of :func:`_put`: what was to be replaced is the output again."""
    if not output.exists():
        old.rename(output)
    else:
        _remove(old)


def _put(partial: Path, output: Path, old: Path) -> None:
    if output.exists():
        output.rename(old)
    partial.rename(output)
    if old.exists():
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


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
