"""A folder or file that appears whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import ARCHIVE_SUFFIX, MANIFEST
from jetvla.runtime.disk import sync
from jetvla.runtime.errors import ConfigError


@contextmanager
def published(output: Path, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder beside ``output``; when the block ends well, it becomes ``output``.

    An output that ends in ``.jetvla`` becomes one packed file. If the block fails, nothing is left; if the
    process is killed, a hidden ``.NAME.new`` (and, while a former output is replaced, ``.NAME.old``) is, which the
    next call for the same output clears up. Two processes never work on the same output at once.

    Raises:
        ConfigError: see :func:`check_output`; or another process is writing ``output``, or the disk refuses.
    """
    place = _place(output)
    partial, old = (place.with_name(f".{place.name}.{kind}") for kind in ("new", "old"))
    lock = _begin(output, partial)
    try:
        if old.exists():
            _restore(old, place)
        check_output(output, overwrite)
        yield partial
        _sync(partial)
        if place.suffix == ARCHIVE_SUFFIX:
            pack(partial, place)
        else:
            _put(partial, place, old)
        sync(place.parent)
    except OSError as error:
        # NumPy's own has a text and no number.
        raise ConfigError(
            f"cannot write {output}: {error.strerror or error}; nothing of it is left: make room, or choose another -o"
        ) from error
    finally:
        if _is(partial, lock):
            shutil.rmtree(partial, ignore_errors=True)
        os.close(lock)


def check_output(output: Path, overwrite: bool) -> None:
    """Look before the work whether :func:`published` may write ``output``.

    Raises:
        ConfigError: if ``output`` exists and ``overwrite`` is not set, or something else than a bundle is there, which
            is never replaced; or its parent is no folder.
    """
    place = _place(output)
    try:
        there, good = place.exists(), _replaceable(place)
    except OSError as error:
        raise ConfigError(f"cannot write {output}: {error.strerror}; choose another -o") from error
    if there and not overwrite:
        raise ConfigError(f"{output} is already there; add --overwrite to replace it, or choose another -o")
    if there and not good:
        raise ConfigError(f"{output} is no bundle, and is not replaced by one; choose another -o")


def _place(output: Path) -> Path:
    """Where ``output`` lies: a link stays a link, and what it points to is written."""
    try:
        str(output).encode()
        place = output.resolve()
        there = place.parent.is_dir()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{output} is no name in UTF-8; choose another -o") from error
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"cannot write {output}: {error}; choose another -o") from error
    if not there:
        raise ConfigError(f"{output.parent} is not a folder; make it first")
    if not place.name:
        raise ConfigError(f"{output} is already there, and is no bundle; choose another -o")
    return place


def _replaceable(place: Path) -> bool:
    """A bundle, packed or not, or nothing worth keeping."""
    if place.is_dir():
        return (place / MANIFEST).is_file() or not any(place.iterdir())
    return place.is_file() and (place.suffix == ARCHIVE_SUFFIX or not place.stat().st_size)


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
        if _is(folder, descriptor):
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _is(folder: Path, descriptor: int) -> bool:
    """Once it has got its name, the next process may make the folder anew."""
    try:
        return os.fstat(descriptor).st_ino == folder.stat().st_ino
    except FileNotFoundError:
        return False


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
    # The next process for the same output may be at it too.
    with suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        sync(path)
    sync(folder)
