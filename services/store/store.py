"""The folder of installed bundles: ``<digest>/``, and ``current`` and ``previous``, which point to two of them."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.bundle import MANIFEST, parse_manifest
from jetvla.runtime.config import CURRENT, PREVIOUS
from jetvla.runtime.disk import remove_abandoned
from jetvla.runtime.errors import BundleError, StoreError
from jetvla.runtime.manifest import Manifest
from jetvla.services.store.history import History
from jetvla.services.store.lock import lock_within
from jetvla.services.store.trial import Trial, read_trial

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LOCK = ".lock"
# The health service changes the store for a moment, when a trial ends; an installation takes longer.
_LOCK_PATIENCE_S = 2.0
# Of a digest that a person types.
_SHORTEST = 6


@dataclass(frozen=True, slots=True)
class Installed:
    """A bundle of the store; ``manifest`` is None where it cannot be read."""

    digest: str
    manifest: Manifest | None


class Store:
    """Reads need no lock: every change is visible in one rename.

    Args:
        root: made by the first change.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.history = History(root / "history.jsonl")
        self.trial_path = root / "trial.json"
        # There while guard and policy are stopped and must be started again, whoever is killed in between.
        self.start_path = root / "start-again"

    def folder(self, digest: str) -> Path:
        return self.root / digest

    @property
    def current(self) -> str | None:
        """Digest of the bundle that daemons start with; None before the first."""
        return self._target(CURRENT)

    @property
    def previous(self) -> str | None:
        """Digest of the bundle to go back to; None if there is none, or a kill came between two links."""
        previous = self._target(PREVIOUS)
        return None if previous == self.current else previous

    @property
    def trial(self) -> Trial | None:
        """The trial of the current bundle; None once it was committed, or another one is current."""
        trial = read_trial(self.trial_path)
        return None if trial is None else trial.of(self.current)

    def start_done(self) -> None:
        """They were started; StoreError if the disk refuses."""
        try:
            self.start_path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.start_path} cannot be removed ({error.strerror}); remove it") from error

    def installed(self) -> tuple[Installed, ...]:
        """Every bundle, sorted by digest."""
        if not self.root.is_dir():
            return ()
        digests = sorted(path.name for path in self.root.iterdir() if _DIGEST.fullmatch(path.name))
        return tuple(Installed(digest, self.manifest_or_none(digest)) for digest in digests)

    def find(self, name: str) -> str:
        """Digest of the one bundle that ``name``, the beginning of a digest, means; StoreError if none or several."""
        found = [bundle.digest for bundle in self.installed() if bundle.digest.startswith(name)]
        if len(found) == 1 and len(name) >= _SHORTEST:
            return found[0]
        problem = "means several bundles" if len(found) > 1 else "is no bundle of the store"
        if len(name) < _SHORTEST:
            problem = f"is too short: give {_SHORTEST} digits or more"
        raise StoreError(f"{name!r} {problem}; 'jetvla bundle list --store {self.root}' shows what is there")

    def manifest(self, digest: str) -> Manifest:
        """What a bundle holds; BundleError if that cannot be read."""
        path = self.folder(digest) / MANIFEST
        try:
            return parse_manifest(path.read_bytes(), path)
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error.strerror}); install the bundle again") from error

    def manifest_or_none(self, digest: str) -> Manifest | None:
        """What a bundle holds; None if that cannot be read."""
        try:
            return self.manifest(digest)
        except BundleError:
            return None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who changes the store; what killed processes left is removed first.

        Raises:
            StoreError: if another process is changing it and is not done within a moment, or the disk refuses what the
                block does.
        """
        try:
            if not self.root.is_dir():
                self.root.mkdir(parents=True)
                # Daemons and people look at it, whatever the umask is.
                self.root.chmod(0o755)
            descriptor = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(descriptor, self.root)
                remove_abandoned(self.root)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(
                f"the store {self.root} cannot be changed ({error.strerror or error}: {error.filename or self.root}); "
                "make room there, and run this as the user who owns it"
            ) from error

    def _target(self, link: str) -> str | None:
        try:
            return (self.root / link).readlink().name
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{error.filename} is no link of the store ({error.strerror}); remove it") from error


def _lock(descriptor: int, root: Path) -> None:
    try:
        lock_within(descriptor, fcntl.LOCK_EX, _LOCK_PATIENCE_S)
    except BlockingIOError as error:
        raise StoreError(f"another process is changing the store {root}; wait for it, and try again") from error
