"""From a fleet's server to the device's store."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuf.api import exceptions as tuf
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater

from jetvla.runtime.bundle import MANIFEST, Bundle
from jetvla.runtime.disk import put_file, remove
from jetvla.runtime.errors import BundleError, FleetError
from jetvla.services.fleet.fetcher import Fetcher, Patience, check_url
from jetvla.services.fleet.refusal import explained
from jetvla.services.fleet.release import Release, reaching
from jetvla.services.store.install import Terms, install
from jetvla.services.store.source import open_source
from jetvla.services.store.store import Store

Say = Callable[[str], None]

_MARGIN_BYTES = 64 << 20
_PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Fleet:
    """A device's side of a fleet.

    Attributes:
        url: of the repository.
        state: folder of what this device knows: the root that a person trusted, and the newest metadata.
        machine_id: decides about staged rollouts.
    """

    url: str
    state: Path
    machine_id: str
    patience: Patience = _PATIENCE

    @property
    def trusted_root(self) -> Path:
        return self.state / "root.json"

    @property
    def metadata(self) -> Path:
        return self.state / "metadata"

    @property
    def downloads(self) -> Path:
        return self.state / "download"


def update(fleet: Fleet, store: Store, terms: Terms, trust_root: Path | None, say: Say) -> str | None:
    """Install the newest release that reaches this device; its digest, or None if there is nothing new.

    Args:
        trust_root: the fleet's root of trust, as a person brought it; needed once.

    Raises:
        FleetError: if the server is away, slow, or sends what is not trusted. Nothing is left of a download.
        BundleError, StoreError, EngineError: as :func:`install`.
    """
    url = check_url(fleet.url)
    with _locked(fleet):
        root = _root(fleet, trust_root)
        fetcher = Fetcher(fleet.patience)
        with explained(url):
            updater = Updater(str(fleet.metadata), f"{url}/metadata/", fetcher=fetcher, bootstrap=root)
            updater.refresh()
            targets = Metadata[Targets].from_file(str(fleet.metadata / "targets.json")).signed.targets
        release = _chosen(reaching(fleet.machine_id, map(Release.of, targets.values())), store, terms, say)
        if release is None:
            return None
        terms.check()
        say(f"{release.name} version {release.version}, for {release.percent:g} % of the devices")
        with explained(url):
            path = _download(fleet, fetcher, f"{url}/targets/", targets[release.path])
        _check_digest(path, release)
        return install(store, path, terms, say)


def _root(fleet: Fleet, brought: Path | None) -> bytes:
    """The root that this device trusts, after taking the one that was brought."""
    pinned = fleet.trusted_root.read_bytes() if fleet.trusted_root.exists() else None
    if brought is None:
        if pinned is None:
            raise FleetError(
                f"{fleet.state} trusts no fleet yet; bring its root.json, and give it once: --trust-root FILE"
            )
        return pinned
    try:
        content = brought.read_bytes()
        root = Metadata[Root].from_bytes(content)
        if not isinstance(root.signed, Root):
            raise ValueError(f"it is a {root.signed.type}")
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except (OSError, DeserializationError, tuf.RepositoryError, ValueError) as error:
        raise FleetError(f"{brought} is no root that 'jetvla fleet init' made ({error}); bring it again") from error
    if pinned is None:
        put_file(fleet.trusted_root, content)
    elif pinned != content:
        raise FleetError(f"{fleet.state} trusts another root already; remove that folder to trust {brought} instead")
    return content


def _chosen(releases: list[Release], store: Store, terms: Terms, say: Say) -> Release | None:
    """The highest that is not refused here; None, which is said, if that one is not wanted or there is none."""
    for release in releases:
        if why := _refused_here(release, store):
            say(why)
        elif why := _unwanted(release, store) or _waiting(release, store, terms):
            say(why)
            return None
        else:
            return release
    if not releases:
        say("no release reaches this device")
    return None


def _refused_here(release: Release, store: Store) -> str:
    """Why an older release may be wanted instead; empty if not. What is current is refused no more."""
    if release.digest == store.current:
        return ""
    verdict = store.history.verdict(release.digest)
    if verdict == "failed":
        return f"{release.name} version {release.version} has failed its trial here, and is not tried again"
    if verdict == "rolled back":
        return (
            f"{release.name} version {release.version} is what an operator went back from here, and is not taken "
            "again; 'jetvla bundle activate' does so"
        )
    return ""


def _unwanted(release: Release, store: Store) -> str:
    """Why neither it nor an older release is installed; empty if it is to be."""
    current = store.current
    manifest = None if current is None else store.manifest_or_none(current)
    newest = max(0 if manifest is None else manifest.version, store.history.highest())
    # One that is damaged and offered again is healed by its installation.
    if release.digest == current and manifest is not None:
        return f"{release.name} version {release.version} is current already"
    if release.version <= newest and release.digest != current:
        return f"nothing is newer than version {newest}; the fleet offers {release.version}"
    return ""


def _waiting(release: Release, store: Store, terms: Terms) -> str:
    """Whether a release that is not to be activated is there already; empty if not, or not whole."""
    if terms.activate:
        return ""
    try:
        Bundle.open(store.folder(release.digest), terms.trusted)
    except BundleError:
        return ""
    return f"{release.name} version {release.version} is installed already; 'jetvla bundle activate' makes it current"


def _download(fleet: Fleet, fetcher: Fetcher, targets_url: str, target: TargetFile) -> Path:
    """Into the folder that is emptied when the lock is given back."""
    free = shutil.disk_usage(fleet.downloads).free
    if target.length + _MARGIN_BYTES > free:
        raise FleetError(f"{target.length / 1e6:.1f} MB do not fit into {fleet.downloads}; make room there")
    path, received = fleet.downloads / target.path, 0
    with path.open("xb+") as file:
        for piece in fetcher.fetch(f"{targets_url}{target.hashes['sha256']}.{target.path}"):
            received += len(piece)
            if received > target.length:
                raise tuf.DownloadLengthMismatchError(f"{target.path} has more than {target.length} bytes")
            file.write(piece)
        file.seek(0)
        target.verify_length_and_hashes(file)
    return path


def _check_digest(path: Path, release: Release) -> None:
    source = open_source(path)
    manifest = b"".join(source.pieces(MANIFEST)) if MANIFEST in source.sizes else b""
    if hashlib.sha256(manifest).hexdigest() != release.digest:
        raise FleetError(f"target {release.path} holds another bundle than the fleet says; publish it again")


@contextmanager
def _locked(fleet: Fleet) -> Iterator[None]:
    """Be the only update; what an interrupted one downloaded is removed before, and what this one did after."""
    try:
        fleet.state.mkdir(parents=True, exist_ok=True)
        fleet.metadata.mkdir(exist_ok=True)
        with ExitStack() as stack:
            descriptor = os.open(fleet.state / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(fleet.downloads)
            fleet.downloads.mkdir(mode=0o700)
            stack.callback(remove, fleet.downloads)
            yield
    except BlockingIOError as error:
        raise FleetError("another update is running; wait for it") from error
    except OSError as error:
        raise FleetError(
            f"{fleet.state} cannot be written ({error.strerror or error}: {error.filename or fleet.state}); make room "
            "there, and run this as the user who owns it"
        ) from error
