"""The repository's side: a folder that any web server can hold, ``metadata/`` and ``targets/``."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.repository import Repository

from jetvla.runtime.disk import hidden, put_file, remove_abandoned, sync
from jetvla.runtime.errors import FleetError
from jetvla.services.fleet.keys import KeyFolder
from jetvla.services.fleet.release import Release

# Days until what a role has signed must have been signed again.
EXPIRY_DAYS: Mapping[str, int] = {Root.type: 365, Targets.type: 90, Snapshot.type: 14, Timestamp.type: 14}
ROLES = tuple(EXPIRY_DAYS)
# A root is signed again from then on: its key is in a safe, and somebody has to fetch it.
ROOT_DAYS_LEFT = 60
_KINDS: Mapping[str, type[Targets | Snapshot | Timestamp]] = {
    Targets.type: Targets,
    Snapshot.type: Snapshot,
    Timestamp.type: Timestamp,
}


class FleetRepository(Repository):
    """Metadata and targets in ``path``. ``timestamp.json`` is written last: before it, devices see the old state.

    Args:
        expiry_days: by role; those that are not named keep :data:`EXPIRY_DAYS`.
    """

    def __init__(self, path: Path, keys: KeyFolder, expiry_days: Mapping[str, int] | None = None) -> None:
        self._metadata, self._targets = path / "metadata", path / "targets"
        self._path, self._keys = path, keys
        self._days = {**EXPIRY_DAYS, **(expiry_days or {})}
        self._old_root_signers: list[str] = []

    @property
    def first_root(self) -> Path:
        """What a person brings to the devices."""
        return self._metadata / "1.root.json"

    # What tuf's Repository asks for

    def open(self, role: str) -> Metadata:  # type: ignore[type-arg]  # as declared there
        path = self._newest(role)
        if path is None:
            return Metadata(Root(consistent_snapshot=True) if role == Root.type else _KINDS[role]())
        try:
            return Metadata.from_file(str(path))
        except (OSError, DeserializationError) as error:
            raise FleetError(f"{path} is damaged ({error}); restore the repository from a copy") from error

    def close(self, role: str, md: Metadata) -> None:  # type: ignore[type-arg]  # as declared there
        root = md.signed if isinstance(md.signed, Root) else self.root()
        md.signed.version += self._newest(role) is not None
        md.signed.expires = _now() + timedelta(days=self._days[role])
        md.signatures.clear()
        signing = [*root.roles[role].keyids, *(self._old_root_signers if role == Root.type else [])]
        for key_id in dict.fromkeys(signing):
            md.sign(self._keys.signer(role, key_id), append=True)
        put_file(self._file(role, md.signed.version), md.to_bytes())

    @property
    def targets_infos(self) -> dict[str, MetaFile]:
        return {f"{Targets.type}.json": MetaFile(self.targets().version)}

    @property
    def snapshot_info(self) -> MetaFile:
        return MetaFile(self.snapshot().version)

    # What a person does

    def create(self) -> None:
        """Keys for every role, and a repository without releases; both or none.

        Raises:
            FleetError: if there is one already, or the disk refuses.
        """
        if self.first_root.exists():
            raise FleetError(f"{self._path} is a repository already; choose another folder")
        with ExitStack() as undo, self._said():
            if not self._path.exists():
                undo.callback(shutil.rmtree, self._path, ignore_errors=True)
            for folder in (self._metadata, self._targets):
                if not folder.exists():
                    undo.callback(shutil.rmtree, folder, ignore_errors=True)
                folder.mkdir(parents=True, exist_ok=True)
            undo.callback(self._keys.remove_made)
            with self._locked():
                with self.edit_root() as root:
                    for role in ROLES:
                        root.add_key(self._keys.create(role).public_key, role)
                with self.edit_targets():
                    pass
                self._conclude()
            undo.pop_all()

    def publish(self, release: Release, packed: Path) -> None:
        """Add a release, or change the percentage of one.

        Raises:
            FleetError: if it is not newer than all that were published, and not one of them.
        """
        with self._locked():
            old = {r.path: r for r in self.releases()}
            highest = max((r.version for r in old.values()), default=0)
            if release.path not in old and release.version <= highest:
                raise FleetError(
                    f"version {release.version} is not above {highest}, the newest that was published, so no device "
                    f"would take it; build the bundle with --version {highest + 1}"
                )
            target = TargetFile.from_file(release.path, str(packed), ["sha256"])
            target.unrecognized_fields["custom"] = release.custom()
            self._store(packed, target)
            with self.edit_targets() as targets:
                targets.targets[release.path] = target
                if release.percent == 100:
                    for path in [p for p, r in old.items() if r.version < release.version]:
                        del targets.targets[path]
            self._conclude()
            self._remove_unnamed({release.path, *old})

    def refresh(self) -> str:
        """Sign targets, snapshot and timestamp again, so that they do not expire; and the root when its time comes, if
        its key is here. Returns what a person must do about the root; empty if nothing.
        """
        with self._locked():
            warning = self._renew_root()
            with self.edit_targets():
                pass
            self._conclude()
        return warning

    def _renew_root(self) -> str:
        """A root that has expired stops every device, whatever else is signed."""
        root = self.root()
        early = timedelta(days=min(ROOT_DAYS_LEFT, self._days[Root.type] // 2))
        if root.expires - _now() > early:
            return ""
        if any(self._keys.find(Root.type, key_id) is None for key_id in root.roles[Root.type].keyids):
            return (
                f"root is signed until {root.expires:%Y-%m-%d}, and no device updates after that: bring its key, "
                f"root-N.key, to {self._keys.path} and run 'jetvla fleet refresh' again"
            )
        with self.edit_root():
            pass
        return ""

    def rotate(self, role: str) -> None:
        """Replace the key of ``role``. Devices follow by themselves, for the root says so, signed by the old root key
        and, if that is the one which changes, by the new one too.
        """
        with self._locked():
            old = list(self.root().roles[role].keyids)
            self._old_root_signers = old if role == Root.type else []
            with self.edit_root() as root:
                for key_id in old:
                    root.revoke_key(key_id, role)
                root.add_key(self._keys.create(role).public_key, role)
            self._old_root_signers = []
            if role == Targets.type:
                with self.edit_targets():
                    pass
            if role != Root.type:
                self._conclude()

    def releases(self) -> tuple[Release, ...]:
        """What devices are offered, oldest version first."""
        self._check_there()
        found = (Release.of(target) for target in self.targets().targets.values())
        return tuple(sorted(found, key=lambda release: release.version))

    def _drop_unfinished(self) -> None:
        """What an interrupted change left, no device can have followed, for the timestamp is written last."""
        if self._newest(Timestamp.type) is None:
            return
        snapshot = self.timestamp().snapshot_meta.version
        for path in self._above(Snapshot.type, snapshot):
            path.unlink()
        for path in self._above(Targets.type, self.snapshot().meta[f"{Targets.type}.json"].version):
            path.unlink()

    def _above(self, role: str, version: int) -> list[Path]:
        found = self._metadata.glob(f"[0-9]*.{role}.json")
        return [path for path in found if int(path.name.partition(".")[0]) > version]

    def _conclude(self) -> None:
        self.do_snapshot(force=True)
        self.do_timestamp(force=True)

    def _store(self, packed: Path, target: TargetFile) -> None:
        place = self._targets / f"{target.hashes['sha256']}.{target.path}"
        partial = hidden(self._targets)
        try:
            shutil.copyfile(packed, partial)
            partial.chmod(0o644)
            sync(partial)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
        sync(self._targets)

    def _remove_unnamed(self, paths: set[str]) -> None:
        """What was offered until now stays until the next release: a device may be about to download it."""
        for file in self._targets.iterdir():
            if file.name.partition(".")[2] not in paths:
                file.unlink()

    def _newest(self, role: str) -> Path | None:
        """The file of the highest version, which is the one in force; None before the first."""
        pattern = f"{role}.json" if role == Timestamp.type else f"[0-9]*.{role}.json"
        return max(self._metadata.glob(pattern), key=lambda path: path.name.partition(".")[0].zfill(20), default=None)

    def _file(self, role: str, version: int) -> Path:
        return self._metadata / (f"{role}.json" if role == Timestamp.type else f"{version}.{role}.json")

    def _check_there(self) -> None:
        if not self.first_root.exists():
            raise FleetError(f"{self._path} is no repository; make one with 'jetvla fleet init {self._path}'")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._metadata.is_dir():
            self._check_there()
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with self._said():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for folder in (self._metadata, self._targets):
                    remove_abandoned(folder)
                self._drop_unfinished()
                yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _said(self) -> Iterator[None]:
        """FleetError for what the disk refuses meanwhile."""
        try:
            yield
        except BlockingIOError as error:
            raise FleetError(f"another process is changing {self._path}; wait for it") from error
        except OSError as error:
            # Not every error says which file.
            reason = ": ".join(str(part) for part in (error.strerror, error.filename) if part)
            raise FleetError(
                f"{self._path} cannot be changed ({reason}); make room, or see who may write it"
            ) from error


def _now() -> datetime:
    """Metadata has whole seconds."""
    return datetime.now(timezone.utc).replace(microsecond=0)
