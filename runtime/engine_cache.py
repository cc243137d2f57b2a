"""The engines that ``jetvla compile`` made for this machine: one folder for each key, there whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jetvla.runtime.backends.base import Backend
from jetvla.runtime.bundle import Bundle, digest_file
from jetvla.runtime.disk import PARTIAL, hidden, sync, take_away
from jetvla.runtime.engine_entry import CompiledEngine, Entry
from jetvla.runtime.engine_key import PASSING, EngineKey
from jetvla.runtime.errors import EngineError

ENTRY = "entry.json"
_LOCK = ".lock"


def engine_key(bundle: Bundle, backend: Backend) -> EngineKey:
    """Under which ``bundle``'s engines of ``backend`` lie: its digest, the library's version and this machine."""
    return EngineKey(bundle.digest, backend.name, backend.version(), backend.machine())


def differences(key: EngineKey, former: CompiledEngine) -> str:
    """What has changed since ``former`` was compiled, such as ``power_mode: 2, was 0``."""
    was: dict[str, str] = former.entry.key["machine"]
    now = asdict(key.machine)
    changed = [name for name in PASSING if now[name] != was.get(name, "")]
    return "; ".join(f"{name}: {now[name] or 'none'}, was {was.get(name) or 'none'}" for name in changed)


class EngineCache:
    """A folder of compiled engines, which any number of processes may read and fill at a time.

    Args:
        root: made with the first entry.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, key: EngineKey) -> Path:
        """Where the entry of ``key`` lies, or would."""
        return self.root / key.digest().hex()

    def find(self, key: EngineKey) -> CompiledEngine | None:
        """The entry of ``key``, every file of it checked; None if there is none.

        Raises:
            EngineError: if it is damaged. It is not used then.
        """
        folder = self.folder(key)
        try:
            if not folder.is_dir():
                return None
            entry = Entry.model_validate_json((folder / ENTRY).read_bytes())
        except (OSError, ValidationError) as error:
            raise _damaged(folder, f"{ENTRY} cannot be read: {error}") from error
        if entry.key != _as_json(key):
            raise _damaged(folder, f"{ENTRY} is that of another engine")
        return _checked(folder, entry)

    def former(self, key: EngineKey) -> CompiledEngine | None:
        """The newest whole entry that only the system's state sets apart from ``key``: CUDA, driver, JetPack or power
        mode. A library may take it still; how fast it is now nobody has measured. None if there is none.
        """
        wanted, found = _lasting(_as_json(key)), []
        for path in self.root.glob(f"[!.]*/{ENTRY}"):
            with suppress(OSError, ValidationError):
                entry = Entry.model_validate_json(path.read_bytes())
                if _lasting(entry.key) == wanted:
                    found.append((path.stat().st_mtime_ns, path.parent, entry))
        for _, folder, entry in sorted(found, key=lambda item: item[0], reverse=True):
            with suppress(EngineError):
                return _checked(folder, entry)
        return None

    @contextmanager
    def publishing(self, key: EngineKey) -> Iterator[Publication]:
        """An empty hidden folder to fill; :meth:`Publication.finish` makes it the entry of ``key``, in one rename.

        A block that ends without it, or by an error, leaves nothing. What a killed process left is removed by the
        next call for any key; as long as its process lives, nobody touches it.

        Raises:
            EngineError: if nothing can be written here, or the disk is full.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with _locked(self.root / _LOCK):
                self._remove_abandoned()
                partial = hidden(self.root)
                partial.mkdir()
                owned = _own(partial)
        except OSError as error:
            raise EngineError(
                f"no engine can be written to {self.root} ({error}); make the folder writable for this user, or "
                "choose another with --engines DIR or policy.engines"
            ) from error
        assert owned is not None  # it was made under the lock, so nobody else had it
        try:
            yield Publication(self, key, partial)
        except OSError as error:
            raise EngineError(f"writing the engine to {self.root} failed: {error}; free some space there") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            os.close(owned)

    def timings(self, key: EngineKey) -> bytes:
        """What :meth:`keep_timings` kept under the fingerprint of ``key``, which is all of it but the graph."""
        path = self._timings(key)
        return path.read_bytes() if path.is_file() else b""

    def keep_timings(self, key: EngineKey, content: bytes) -> None:
        """Keep what a library learnt about its kernels; the file is there whole or not at all."""
        path = self._timings(key)
        partial = path.with_name(f".{path.name}")
        with _locked(self.root / _LOCK):
            partial.write_bytes(content)
            sync(partial)
            partial.replace(path)
            sync(self.root)

    def forget(self, bundles: Collection[str]) -> int:
        """Remove the entries of bundles with these digests, whatever library and machine they are for; how many.

        What cannot be read, or belongs to somebody else, stays.

        Raises:
            EngineError: if the disk refuses.
        """
        count = 0
        try:
            with _locked(self.root / _LOCK):
                for path in self.root.glob(f"[!.]*/{ENTRY}"):
                    if _bundle_of(path) in bundles and os.geteuid() in (0, path.parent.stat().st_uid):
                        take_away(path.parent)
                        count += 1
        except OSError as error:
            raise EngineError(f"no engine can be removed from {self.root} ({error}); run this as its owner") from error
        return count

    def _timings(self, key: EngineKey) -> Path:
        return self.root / f"timings-{replace(key, graph='').digest().hex()[:16]}.cache"

    def _remove_abandoned(self) -> None:
        for path in self.root.glob(f".*{PARTIAL}"):
            owned = _own(path)
            if owned is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(owned)


class Publication:
    """An entry in the making: ``folder`` is to be filled with files."""

    def __init__(self, cache: EngineCache, key: EngineKey, folder: Path) -> None:
        self._cache, self._key, self.folder = cache, key, folder

    def finish(self, entry: Entry) -> CompiledEngine:
        """Publish the folder's files under ``entry``, whose key and digests it fills in; replaces an older entry."""
        files = {path.name: digest_file(path) for path in sorted(self.folder.iterdir())}
        whole = entry.model_copy(update={"key": _as_json(self._key), "files": files})
        (self.folder / ENTRY).write_text(whole.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for path in (*self.folder.iterdir(), self.folder):
            sync(path)
        target = self._cache.folder(self._key)
        with _locked(self._cache.root / _LOCK):
            # A folder cannot take the place of one that is not empty. Killed in between, there is none.
            old = hidden(self._cache.root)
            if target.exists():
                target.rename(old)
            self.folder.rename(target)
            sync(self._cache.root)
            shutil.rmtree(old, ignore_errors=True)
        return CompiledEngine(target, whole)


def _as_json(key: EngineKey) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(json.dumps(asdict(key)))
    return fields


def _lasting(key: dict[str, Any]) -> dict[str, Any]:
    """Of a key as JSON: what no change of the system's state alters."""
    machine = {name: value for name, value in key.get("machine", {}).items() if name not in PASSING}
    return {**key, "machine": machine}


def _checked(folder: Path, entry: Entry) -> CompiledEngine:
    for name, expected in entry.files.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise _damaged(folder, f"{name} is missing")
        try:
            same = digest_file(folder / name) == expected
        except OSError as error:
            raise _damaged(folder, f"{name} cannot be read: {error.strerror}") from error
        if not same:
            raise _damaged(folder, f"{name} is altered")
    if {entry.step, entry.language} - {None} - entry.files.keys():
        raise _damaged(folder, f"{ENTRY} names a file without a digest")
    return CompiledEngine(folder, entry)


def _bundle_of(path: Path) -> str:
    """Digest of the bundle that an ``entry.json`` belongs to; empty if it does not tell."""
    try:
        return str(json.loads(path.read_bytes())["key"]["graph"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _damaged(folder: Path, why: str) -> EngineError:
    return EngineError(f"the compiled engine in {folder} is damaged ({why}); make it again with 'jetvla compile'")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _own(folder: Path) -> int | None:
    """Lock ``folder`` until its descriptor is closed or the process dies; None if another process has it, or had."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:  # its owner has just removed it
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
