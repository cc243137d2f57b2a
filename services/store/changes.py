"""Changes of the store. Killed at any moment, ``current`` is the old bundle or the new one, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import CURRENT, PREVIOUS
from jetvla.runtime.disk import put_file, put_link, remove, sync, take_away
from jetvla.runtime.errors import BundleError, ConfigError, StoreError
from jetvla.runtime.keys import TrustedKey, load_trusted
from jetvla.services.store.history import Entry, What
from jetvla.services.store.hold import in_use
from jetvla.services.store.store import Store
from jetvla.services.store.trial import Trial, write_trial

Keys = tuple[TrustedKey, ...]


class Changes:
    """What may be done to ``store`` by the holder of its lock; each is in the history before it is done."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, what: What, digest: str, detail: str = "") -> None:
        """Write a line of history, also of a bundle that cannot be read any more."""
        known = next((e for e in self._store.history.entries() if e.digest == digest and e.version), None)
        named = self._store.manifest_or_none(digest) or known
        version, name = (0, "a damaged bundle") if named is None else (named.version, named.name)
        self._store.history.add(Entry(what, digest, version, name, detail))

    def check_version(self, digest: str, version: int, allowed: bool) -> str:
        """Refuse what is not above everything that was ever committed here; the very bundle that was may come back.

        Returns:
            What ``allowed`` set aside, for the history; else empty.

        Raises:
            StoreError: if it is a downgrade and not ``allowed``.
        """
        highest = self._store.history.highest()
        committed = any(e.digest == digest and e.what == "committed" for e in self._store.history.entries())
        if version > highest or (version == highest and committed):
            return ""
        if allowed:
            return f"downgrade allowed: version {version}, and {highest} was committed"
        raise StoreError(
            f"version {version} is not above {highest}, the highest that this device has committed: it may be an old "
            f"bundle with known faults; build it with --version {highest + 1}, or add --allow-downgrade"
        )

    def check_no_fallback(self, digest: str) -> None:
        """Refuse to put on trial what the trial that goes on would go back to: nothing would be left to go back to.

        Raises:
            StoreError: with what to do instead.
        """
        trial = self._store.trial
        if trial is not None and digest == self._store.previous:
            raise StoreError(
                f"bundle {digest[:12]} is what the trial of {trial.digest[:12]} goes back to; 'jetvla bundle rollback' "
                "ends that trial and makes it current"
            )

    def activate(self, digest: str, trusted: Keys, detail: str = "") -> None:
        """Make a bundle current, and put it on trial. The last good one becomes the previous.

        Raises:
            BundleError: if a file of it is missing or altered, or no key of ``trusted`` signed it.
            StoreError: if it is what the trial of another goes back to.
        """
        Bundle.open(self._store.folder(digest), trusted)
        self.check_no_fallback(digest)
        if digest == self._store.current:
            return
        fallback, former = self._fallback(trusted), self._store.trial
        self.note("activated", digest, detail)
        trial = Trial(digest, datetime.now(timezone.utc).isoformat(timespec="seconds"))
        write_trial(replace(trial, former="" if former is None else former.digest), self._store.trial_path)
        if fallback is not None and fallback != digest:
            put_link(self._store.root / PREVIOUS, fallback)
        put_link(self._store.root / CURRENT, digest)
        if former is not None:
            write_trial(trial, self._store.trial_path)

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

    def fall_back(self, reason: str, trusted: Path) -> str:
        """Back to the previous bundle where there is a good one, still within the trial; returns what came of it.

        Args:
            trusted: folder of the keys whose bundles may run.
        """
        try:
            return f"went back to bundle {self._flip_back(reason, load_trusted(trusted))[:12]}"
        except (StoreError, BundleError, ConfigError) as error:
            return f"the bundle stays, for {error}"

    def owe_start(self) -> None:
        """Guard and policy are about to be stopped, and must be started again."""
        put_file(self._store.start_path, b"")

    def end_trial(self) -> None:
        """No bundle is on trial."""
        remove(self._store.trial_path)
        sync(self._store.root)

    def roll_back(self, reason: str, trusted: Keys) -> str:
        """Make the previous bundle current, without a trial; nothing is previous then. Returns its digest.

        Raises:
            StoreError: if there is none.
            BundleError: if a file of it is missing or altered, or no key of ``trusted`` signed it.
        """
        digest = self._flip_back(reason, trusted)
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
        self.note("removed", digest)
        if digest == store.previous:
            remove(store.root / PREVIOUS)
        take_away(folder)

    def prune(self) -> tuple[str, ...]:
        """Remove every bundle that is neither current nor previous nor in use; returns their digests."""
        kept = {self._store.current, self._store.previous}
        old = [b.digest for b in self._store.installed() if b.digest not in kept]
        gone = tuple(digest for digest in old if not in_use(self._store.folder(digest)))
        for digest in gone:
            self.note("removed", digest)
            take_away(self._store.folder(digest))
        return gone

    def _check_trial(self, digest: str) -> None:
        trial = self._store.trial
        if trial is None or trial.digest != digest:
            raise StoreError(f"bundle {digest[:12]} is not on trial any more: somebody has activated another")

    def _fallback(self, trusted: Keys) -> str | None:
        """What has proved itself: the current bundle, unless it is still on trial itself, or is no good."""
        current, previous = self._store.current, self._store.previous
        order = (current, previous) if self._store.trial is None else (previous, current)
        return next((digest for digest in order if digest is not None and self._good(digest, trusted)), None)

    def _good(self, digest: str, trusted: Keys) -> bool:
        """Whether a bundle may be gone back to, as far as that is known without reading all of it."""
        try:
            Bundle.open(self._store.folder(digest), trusted, contents=False)
        except BundleError:
            return False
        return self._store.history.verdict(digest) != "failed"

    def _flip_back(self, reason: str, trusted: Keys) -> str:
        current, previous = self._store.current, self._store.previous
        if current is None or previous is None:
            raise StoreError("there is no previous bundle to go back to; 'jetvla bundle activate DIGEST' takes another")
        Bundle.open(self._store.folder(previous), trusted)
        self.note("rolled back", current, f"to {previous[:12]}: {reason}")
        put_link(self._store.root / CURRENT, previous)
        (self._store.root / PREVIOUS).unlink()
        return previous


@contextmanager
def changing(store: Store) -> Iterator[Changes]:
    """Lock ``store`` and change it; see :meth:`Store.locked`."""
    with store.locked():
        yield Changes(store)
