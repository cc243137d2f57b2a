"""From a file that somebody brought to the bundle that runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.disk import hidden, remove, sync, take_away
from jetvla.runtime.engine_cache import EngineCache
from jetvla.runtime.errors import BundleError, StoreError
from jetvla.runtime.keys import TrustedKey
from jetvla.services.store.changes import Changes, changing
from jetvla.services.store.engines import remove_unneeded
from jetvla.services.store.self_test import SelfTest
from jetvla.services.store.source import Verified, open_source, verify
from jetvla.services.store.store import Store

# Room that stays free for logs and for the other files of the store.
_MARGIN_BYTES = 64 << 20
_MARGIN_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a bundle is installed.

    Attributes:
        trusted: whose bundles may run here.
        self_test: raises unless the bundle computes right; None skips it, which the history tells.
        allow_downgrade: take a version that is not above everything committed; the history tells.
        activate: make it current, and put it on trial.
        engines: from which those of bundles that are not installed any more are removed; None removes none.
        check: raises while the self-test may not run.
    """

    trusted: tuple[TrustedKey, ...]
    self_test: SelfTest | None
    allow_downgrade: bool = False
    activate: bool = True
    engines: EngineCache | None = None
    check: Callable[[], None] = lambda: None


def install(store: Store, path: Path, terms: Terms, say: Callable[[str], None]) -> str:
    """Install the bundle at ``path``, a folder or one packed file, and return its digest.

    Nothing is written into the store before signature and every file were verified, and nothing is visible before the
    bundle is on the disk, verified again, and has computed its golden samples. One that is current stays as it is.

    Raises:
        BundleError, StoreError, EngineError: naming what is wrong. The store is as before, but for a damaged bundle
            that is whole now and that a trial goes back to.
    """
    verified = verify(open_source(path), terms.trusted)
    with changing(store) as changes:
        if verified.digest == store.current and _whole(store, verified.digest):
            say("it is current already")
            return verified.digest
        # A damaged one is healed first, so that it can be gone back to.
        if terms.activate and _whole(store, verified.digest):
            changes.check_no_fallback(verified.digest)
        terms.check()
        downgrade = changes.check_version(verified.digest, verified.manifest.version, terms.allow_downgrade)
        _put(store, changes, verified, terms, downgrade, say)
        if terms.activate:
            changes.activate(verified.digest, terms.trusted, downgrade)
            for digest in changes.prune():
                say(f"removed {digest[:12]}, which was neither current nor previous")
            if terms.engines is not None:
                remove_unneeded(store, terms.engines, say)
    return verified.digest


def _put(
    store: Store, changes: Changes, verified: Verified, terms: Terms, downgrade: str, say: Callable[[str], None]
) -> None:
    """Into its folder, in one rename."""
    folder = store.folder(verified.digest)
    if _whole(store, verified.digest):
        tested = _test(Bundle.open(folder, terms.trusted), terms, say)
    else:
        _check_room(store.root, verified.size)
        partial = hidden(store.root)
        try:
            _copy(verified, partial)
            tested = _test(Bundle.open(partial, terms.trusted), terms, say)
            if folder.exists():
                take_away(folder)
            partial.rename(folder)
        finally:
            remove(partial)
        sync(store.root)
    changes.note("installed", verified.digest, "; ".join(filter(None, (tested, downgrade))))


def _test(bundle: Bundle, terms: Terms, say: Callable[[str], None]) -> str:
    """What the history tells of it."""
    if terms.self_test is None:
        say("golden samples: skipped")
        return "golden samples skipped"
    # Copying a large bundle takes its time.
    terms.check()
    say(f"golden samples: {terms.self_test(bundle)}")
    return ""


def _whole(store: Store, digest: str) -> bool:
    """Whether the bundle is there already, with every file as it was."""
    try:
        return Bundle.open(store.folder(digest), None).digest == digest
    except BundleError:
        return False


def _check_room(root: Path, size: int) -> None:
    disk = os.statvfs(root)
    free, margin = disk.f_bavail * disk.f_frsize, max(_MARGIN_BYTES, int(size * _MARGIN_SHARE))
    if size + margin > free:
        raise StoreError(
            f"{size / 1e6:.1f} MB do not fit into {root}: {free / 1e6:.1f} MB are free, and {margin / 1e6:.1f} MB stay "
            "so; remove a bundle with 'jetvla bundle remove', or make room"
        )


def _copy(verified: Verified, folder: Path) -> None:
    """Readable for the daemons' accounts, whatever the umask is."""
    folder.mkdir()
    folder.chmod(0o755)
    for name in sorted(verified.source.sizes):
        with (folder / name).open("xb") as file:
            for piece in verified.source.pieces(name):
                file.write(piece)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
    sync(folder)
