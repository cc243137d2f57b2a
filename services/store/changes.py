"""Changes of the store. Killed at any moment, ``current`` is the old bundle or the new one, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import CURRENT, PREVIOUS
from jetvla.runtime.disk import put_link, remove, sync, take_away
from jetvla.runtime.errors import BundleError, StoreError
from jetvla.services.store.history import Entry, What
from jetvla.services.store.hold import in_use
from jetvla.services.store.store import Store
from jetvla.services.store.trial import Trial, write_trial


class Changes:
    """What may be done to ``store`` by the holder of its lock; each is in the history before it is done."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, what: What, digest: str, detail: str = "") -> None:
        """Write a line of history."""
        manifest = self._store.manifest(digest)
        self._store.history.add(Entry(what, digest, manifest.version, manifest.name, detail))

    def check_version(self, digest: str, version: int, allowed: bool) -> str:
        """Refuse what is not above everything that was ever committed here; the very bundle that was may come back.

        Returns:
            What ``allowed`` set aside, for the history; else empty.

        Raises:
            StoreError: if it is a downgrade and not ``allowed``.
        """
        highest = self._store.history.highest()
        known = any(e.digest == digest and e.version == highest for e in self._store.history.entries())
        if version > highest or (version == highest and known):
            return ""
        if allowed:
            return f"downgrade allowed: version {version}, and {highest} was committed"
        raise StoreError(
            f"version {version} is not above {highest}, the highest that this device has committed: it may be an old "
            f"bundle with known faults; build it with --version {highest + 1}, or add --allow-downgrade"
        )

    def activate(self, digest: str, detail: str = "") -> None:
        """Make a bundle current, and put it on trial. The last good one becomes the previous.

        Raises:
            BundleError: if a file of it is missing or altered.
        """
        Bundle.open(self._store.folder(digest), None)
        if digest == self._store.current:
            return
        fallback = self._fallback()
        self.note("activated", digest, detail)
        write_trial(Trial(digest, datetime.now(timezone.utc).isoformat(timespec="seconds")), self._store.trial_path)
        if fallback is not None and fallback != digest:
            put_link(self._store.root / PREVIOUS, fallback)
        put_link(self._store.root / CURRENT, digest)

    def commit(self, digest: str, detail: str = "") -> None:
        """The bundle has proved itself; StoreError if it is not on trial."""
        self._check_trial(digest)
        self.note("committed", digest, detail)
        self.end_trial()

    def condemn(self, digest: str, reason: str) -> None:
        """The trial has failed. What follows may be interrupted, and this stays known.

        Raises:
            StoreError: if the bundle is not on trial.
        """
        self._check_trial(digest)
        if self._store.history.verdict(digest) != "failed":
            self.note("failed", digest, reason)

    def fall_back(self, reason: str) -> str:
        """Back to the previous bundle where there is a good one, still within the trial; returns what came of it."""
        try:
            return f"went back to bundle {self._flip_back(reason)[:12]}"
        except (StoreError, BundleError) as error:
            return f"the bundle stays, for {error}"

    def end_trial(self) -> None:
        """No bundle is on trial."""
        remove(self._store.trial_path)
        sync(self._store.root)

    def roll_back(self, reason: str) -> str:
        """Make the previous bundle current, without a trial; nothing is previous then. Returns its digest.

        Raises:
            StoreError: if there is none.
            BundleError: if a file of it is missing or altered.
        """
        digest = self._flip_back(reason)
        self.end_trial()
        return digest

    def remove(self, digest: str) -> None:
        """Remove a bundle that nobody needs.

        Raises:
            StoreError: if it is current, in use, or what a trial would go back to.
        """
        store, folder = self._store, self._store.folder(digest)
        needed = {
            "it is the current one": digest == store.current,
            "a trial may have to go back to it": digest == store.previous and store.trial is not None,
            "a running process uses it": in_use(folder),
        }
        for why, true in needed.items():
            if true:
                raise StoreError(f"bundle {digest[:12]} is not removed: {why}")
        self._forget(digest)
        if digest == store.previous:
            remove(store.root / PREVIOUS)
        take_away(folder)

    def prune(self) -> tuple[str, ...]:
        """Remove every bundle that is neither current nor previous nor in use; returns their digests."""
        kept = {self._store.current, self._store.previous}
        old = [b.digest for b in self._store.installed() if b.digest not in kept]
        gone = tuple(digest for digest in old if not in_use(self._store.folder(digest)))
        for digest in gone:
            self._forget(digest)
            take_away(self._store.folder(digest))
        return gone

    def _check_trial(self, digest: str) -> None:
        trial = self._store.trial
        if trial is None or trial.digest != digest:
            raise StoreError(f"bundle {digest[:12]} is not on trial any more: somebody has activated another")

    def _forget(self, digest: str) -> None:
        """A line of history also for what cannot be read any more."""
        manifest = next((b.manifest for b in self._store.installed() if b.digest == digest), None)
        version, name = (0, "a damaged bundle") if manifest is None else (manifest.version, manifest.name)
        self._store.history.add(Entry("removed", digest, version, name))

    def _fallback(self) -> str | None:
        """What has proved itself: the current bundle, unless it is still on trial itself."""
        if self._store.trial is not None and self._store.previous is not None:
            return self._store.previous
        return self._store.current

    def _flip_back(self, reason: str) -> str:
        current, previous = self._store.current, self._store.previous
        if current is None or previous is None:
            raise StoreError("there is no previous bundle to go back to; 'jetvla bundle activate DIGEST' takes another")
        Bundle.open(self._store.folder(previous), None)
        self.note("rolled back", current, f"to {previous[:12]}: {reason}")
        put_link(self._store.root / CURRENT, previous)
        (self._store.root / PREVIOUS).unlink()
        return previous


@contextmanager
def changing(store: Store) -> Iterator[Changes]:
    """Lock ``store`` and change it; see :meth:`Store.locked`."""
    with store.locked():
        yield Changes(store)
