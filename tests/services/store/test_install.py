"""A bundle is installed whole, tested and on trial, or the store is as before."""

from __future__ import annotations

import os
import resource
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from jetvla.runtime.archive import pack
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.config import PolicyConfig
from jetvla.runtime.engine_cache import EngineCache
from jetvla.runtime.engine_entry import Entry
from jetvla.runtime.engine_key import EngineKey, Machine
from jetvla.runtime.errors import BundleError, StoreError
from jetvla.services.store import install as install_module
from jetvla.services.store.changes import changing
from jetvla.services.store.hold import held
from jetvla.services.store.install import Terms, install
from jetvla.services.store.self_test import golden_test
from jetvla.services.store.store import Store

from ..bundles import Maker


def quiet(line: str) -> None:
    """Nobody listens."""


def put(store: Store, path: Path, terms: Terms, commit: bool = True) -> str:
    digest = install(store, path, terms, quiet)
    if commit:
        with changing(store) as changes:
            changes.commit(digest)
    return digest


def names(store: Store) -> set[str]:
    return {path.name for path in store.root.iterdir()} if store.root.exists() else set()


def whats(store: Store) -> list[str]:
    return [entry.what for entry in store.history.entries()]


def test_the_first_bundle_is_current_and_on_trial(store: Store, make: Maker, terms: Terms, tmp_path: Path) -> None:
    pack(make(1), tmp_path / "b.jetvla")
    digest = put(store, tmp_path / "b.jetvla", terms, commit=False)
    assert (store.current, store.previous) == (digest, None)
    assert store.trial is not None
    assert Bundle.open(store.root / "current", terms.trusted).digest == digest
    assert whats(store) == ["installed", "activated"]
    assert store.history.highest() == 0
    folder = store.folder(digest)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_everybody_may_look_at_it_whatever_the_umask_is(store: Store, make: Maker, terms: Terms) -> None:
    bundle, former = make(1), os.umask(0o077)
    try:
        put(store, bundle, terms)
    finally:
        os.umask(former)
    assert store.root.stat().st_mode & 0o777 == 0o755
    for path in store.root.rglob("*"):
        if path.name != ".lock":
            assert path.stat().st_mode & 0o444 == 0o444, path


def test_two_are_kept_and_older_ones_go(store: Store, make: Maker, terms: Terms) -> None:
    first, second, third = (put(store, make(version), terms) for version in (1, 2, 3))
    assert (store.current, store.previous) == (third, second)
    assert {bundle.digest for bundle in store.installed()} == {second, third}
    assert store.history.entries()[-2].digest == first
    assert store.history.highest() == 3


def test_engines_go_with_their_bundle_and_others_stay(store: Store, make: Maker, terms: Terms, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "engines")
    terms = replace(terms, engines=cache)
    elsewhere = Bundle.open(make(9), None)

    def compiled(digest: str, power_mode: str = "") -> Path:
        key = EngineKey(digest, "onnxruntime", "1", Machine(power_mode=power_mode))
        with cache.publishing(key) as publication:
            (publication.folder / "step").touch()
            entry = Entry(
                policy="p", candidate="c", precision="fp32", candidates=(), rounds=1, options={}, environment={}
            )
            return publication.finish(entry).folder

    first = put(store, make(1), terms)
    old = [compiled(first), compiled(first, "2")]
    second = put(store, make(2), terms)
    kept = [compiled(second), compiled(second, "2"), compiled(elsewhere.digest)]
    (cache.root / "unreadable").mkdir()
    (cache.root / "unreadable" / "entry.json").write_text("{")
    assert all(folder.exists() for folder in old)
    said: list[str] = []
    install(store, make(3), terms, said.append)
    assert said[-1] == "removed 2 compiled engines of bundles that are not installed any more"
    assert not any(folder.exists() for folder in old)
    assert {path.name for path in cache.root.iterdir()} == {".lock", "unreadable", *(path.name for path in kept)}


def test_engines_that_cannot_be_removed_keep_nothing_from_being_installed(
    store: Store, make: Maker, terms: Terms, tmp_path: Path
) -> None:
    (tmp_path / "engines" / ".lock").mkdir(parents=True)
    terms = replace(terms, engines=EngineCache(tmp_path / "engines"))
    for version in (1, 2):
        put(store, make(version), terms)
    said: list[str] = []
    assert install(store, make(3), terms, said.append) == store.current
    assert said[-1].startswith("old engines stay: no engine can be removed from ")


def test_what_a_process_uses_is_kept_until_it_ends(store: Store, make: Maker, terms: Terms) -> None:
    first = put(store, make(1), terms)
    with held(store.folder(first)):
        put(store, make(2), terms)
        put(store, make(3), terms)
        assert store.folder(first).exists()
    put(store, make(4), terms)
    assert not store.folder(first).exists()


def test_one_on_trial_does_not_become_the_one_to_go_back_to(store: Store, make: Maker, terms: Terms) -> None:
    good = put(store, make(1), terms)
    put(store, make(2), terms, commit=False)
    third = put(store, make(3), terms, commit=False)
    assert (store.current, store.previous) == (third, good)


@pytest.mark.parametrize("version", [1, 2])
def test_a_downgrade_is_refused_unless_allowed_which_is_logged(
    store: Store, make: Maker, terms: Terms, version: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    second = put(store, make(2), terms)
    other = make(version) if version == 1 else make(2, wrong=True)
    with pytest.raises(StoreError, match=rf"version {version} is not above 2.*--version 3, or add --allow-downgrade"):
        install(store, other, terms, quiet)
    assert store.current == second
    digest = install(store, other, Terms(terms.trusted, terms.self_test, allow_downgrade=True), quiet)
    assert store.current == digest
    activated = store.history.entries()[-1]
    assert (activated.what, activated.detail) == (
        "activated",
        f"downgrade allowed: version {version}, and 2 was committed",
    )
    assert "downgrade allowed" in caplog.text


def test_a_version_that_was_never_committed_does_not_count(store: Store, make: Maker, terms: Terms) -> None:
    put(store, make(1), terms)
    put(store, make(9), terms, commit=False)
    assert put(store, make(2), terms, commit=False) == store.current


def test_the_very_bundle_may_come_again(store: Store, make: Maker, terms: Terms) -> None:
    digest = put(store, make(1), terms)
    before = whats(store)
    said: list[str] = []
    assert install(store, make(1, key=make.key), terms, said.append) == digest
    assert said == ["it is current already"]
    assert whats(store) == before


def test_a_damaged_one_is_replaced(store: Store, make: Maker, terms: Terms) -> None:
    bundle = make(1)
    digest = put(store, bundle, terms)
    (store.folder(digest) / "golden.npz").write_bytes(b"rot")
    put(store, bundle, terms, commit=False)
    assert Bundle.open(store.root / "current", terms.trusted).digest == digest


def test_nothing_is_written_before_it_is_verified(store: Store, make: Maker, terms: Terms) -> None:
    bundle = make(1)
    (bundle / "golden.npz").write_bytes(b"rot")
    with pytest.raises(BundleError, match="altered"):
        install(store, bundle, terms, quiet)
    assert not store.root.exists()


def test_what_changes_after_it_was_verified_is_not_installed(store: Store, make: Maker, terms: Terms) -> None:
    bundle = make(1)

    class Swapped(Store):
        def locked(self):  # type: ignore[no-untyped-def]
            (bundle / "golden.npz").write_bytes(b"x" * (bundle / "golden.npz").stat().st_size)
            return super().locked()

    with pytest.raises(BundleError, match=r"golden\.npz is altered"):
        install(Swapped(store.root), bundle, terms, quiet)
    assert names(store) == {".lock"}


def test_wrong_golden_samples_leave_the_store_as_it_was(store: Store, make: Maker, terms: Terms) -> None:
    good = put(store, make(1), terms)
    before = names(store)
    real = Terms(terms.trusted, golden_test(PolicyConfig(threads=1, engines=store.root.parent / "engines"), quiet))
    with pytest.raises(StoreError, match=r"version 2 does not compute its golden samples.*it is not installed"):
        install(store, make(2, wrong=True), real, quiet)
    assert (store.current, names(store)) == (good, before)
    said: list[str] = []
    install(store, make(2), real, said.append)
    assert "golden samples: error " in said[0]
    assert "onnxruntime" in said[0]


def test_skipping_the_golden_samples_is_logged(store: Store, make: Maker, terms: Terms) -> None:
    install(store, make(2, wrong=True), Terms(terms.trusted, None), quiet)
    assert store.history.entries()[0].detail == "golden samples skipped"


def test_without_activation_nothing_changes_for_the_daemons(store: Store, make: Maker, terms: Terms) -> None:
    first = put(store, make(1), terms)
    second = install(store, make(2), Terms(terms.trusted, terms.self_test, activate=False), quiet)
    assert (store.current, store.trial) == (first, None)
    assert {bundle.digest for bundle in store.installed()} == {first, second}


def test_two_installs_do_not_race(store: Store, make: Maker, terms: Terms) -> None:
    bundle = make(1)
    with store.locked(), pytest.raises(StoreError, match="another process is changing the store"):
        install(store, bundle, terms, quiet)


def test_an_install_waits_for_whoever_changes_the_store_for_a_moment(store: Store, make: Maker, terms: Terms) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.locked():
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    threading.Timer(0.1, done.set).start()
    assert put(store, make(1), terms) == store.current
    holder.join()


def test_room_is_looked_for_before_anything_is_written(
    store: Store, make: Maker, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install_module, "_MARGIN_BYTES", 1 << 60)
    with pytest.raises(StoreError, match=r"0\.2 MB do not fit into .*jetvla bundle remove"):
        install(store, make(1), terms, quiet)
    assert names(store) == {".lock"}


def test_a_disk_that_fills_up_meanwhile_leaves_the_store_as_it_was(store: Store, make: Maker, terms: Terms) -> None:
    good = put(store, make(1), terms)
    before, bundle = names(store), make(2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(StoreError, match="cannot be changed"):
        install(store, bundle, terms, quiet)
    assert (store.current, names(store)) == (good, before)


def test_a_store_that_cannot_be_made_names_it(tmp_path: Path, make: Maker, terms: Terms) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"the store .*file/store cannot be changed \(Not a directory"):
        install(Store(tmp_path / "file" / "store"), make(1), terms, quiet)
