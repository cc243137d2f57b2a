"""A fleet: its repository on a server, and a device that trusts its root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="needs the extra 'fleet'")

from jetvla.runtime.archive import pack
from jetvla.runtime.keys import load_trusted
from jetvla.services.fleet.fetcher import Patience
from jetvla.services.fleet.keys import KeyFolder
from jetvla.services.fleet.release import Release
from jetvla.services.fleet.repository import FleetRepository
from jetvla.services.fleet.update import Fleet, update
from jetvla.services.store.install import Terms
from jetvla.services.store.source import open_source, verify
from jetvla.services.store.store import Store

from ..bundles import Maker
from .server import Server


class Scene:
    """Repository, server and one device."""

    def __init__(self, place: Path, make: Maker, server: Server) -> None:
        self.place, self.make, self.server = place, make, server
        self.keys = KeyFolder(place / "fleet-keys")
        self.repository = FleetRepository(place / "repository", self.keys)
        self.repository.create()
        self.store = Store(place / "store")
        self.terms = Terms(load_trusted(make.keys), lambda bundle: "passed")
        self.said: list[str] = []
        self.fleet = Fleet(server.url, place / "state", "0123", Patience(silence_s=60.0))
        self.brought: Path | None = self.repository.first_root

    def publish(self, version: int, percent: float = 100.0, bundle: Path | None = None) -> Release:
        folder = bundle or self.make(version)
        packed = self.place / f"{folder.name}.jetvla"
        pack(folder, packed)
        verified = verify(open_source(packed), None)
        release = Release(verified.digest, version, verified.manifest.name, percent)
        self.repository.publish(release, packed)
        return release

    def update(self, fleet: Fleet | None = None) -> str | None:
        """What the device installed."""
        self.said.clear()
        brought, self.brought = self.brought, None
        return update(fleet or self.fleet, self.store, self.terms, brought, self.said.append)

    def left(self) -> list[str]:
        """What lies around where nothing may: downloads, and unfinished files of the store."""
        found = list((self.place / "state" / "download").rglob("*"))
        return [path.name for path in (*found, *(self.place / "store").glob(".*.partial"))]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "repository").mkdir()
    with Server(tmp_path / "repository") as running:
        yield running


@pytest.fixture
def scene(tmp_path: Path, make: Maker, server: Server) -> Scene:
    return Scene(tmp_path, make, server)
