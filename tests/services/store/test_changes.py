"""Activation, going back, removal, and the history that tells of them."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from jetvla.runtime.errors import BundleError, StoreError
from jetvla.services.store import hold
from jetvla.services.store.changes import changing
from jetvla.services.store.history import Entry, History
from jetvla.services.store.hold import held, in_use
from jetvla.services.store.install import Terms, install
from jetvla.services.store.store import Store

from ..bundles import Maker

ENTRY = Entry("committed", "ab" * 32, 4, "policy")


@pytest.fixture
def two(store: Store, make: Maker, terms: Terms) -> tuple[str, str]:
    """Digests of a committed bundle, and of a newer one that is current and on trial."""
    first = install(store, make(1), terms, print)
    with changing(store) as changes:
        changes.commit(first)
    return first, install(store, make(2), terms, print)


def test_an_operator_goes_back(store: Store, two: tuple[str, str], terms: Terms) -> None:
    with changing(store) as changes:
        assert changes.roll_back("by the operator", terms.trusted) == two[0]
    assert (store.current, store.previous, store.trial) == (two[0], None, None)
    assert store.history.entries()[-1].what == "rolled back"
    with changing(store) as changes, pytest.raises(StoreError, match="no previous bundle"):
        changes.roll_back("again", terms.trusted)


def test_what_a_trial_goes_back_to_is_not_put_on_trial_itself(
    store: Store, two: tuple[str, str], tmp_path: Path, terms: Terms
) -> None:
    def unchanged() -> bool:
        trial = store.trial
        return (store.current, store.previous) == (two[1], two[0]) and trial is not None and trial.digest == two[1]

    entries = store.history.entries()
    with pytest.raises(StoreError, match="'jetvla bundle rollback'"):
        install(store, tmp_path / "made-1", terms, print)
    with changing(store) as changes, pytest.raises(StoreError, match="'jetvla bundle rollback'"):
        changes.activate(two[0], terms.trusted)
    assert unchanged()
    assert store.history.entries() == entries
    assert {bundle.digest for bundle in store.installed()} == set(two)

    (store.folder(two[0]) / "golden.npz").write_bytes(b"rot")
    with pytest.raises(StoreError, match="'jetvla bundle rollback'"):
        install(store, tmp_path / "made-1", terms, print)
    assert unchanged()
    with changing(store) as changes:
        assert changes.roll_back("by the operator", terms.trusted) == two[0]


def test_nobody_goes_back_to_a_damaged_bundle(store: Store, two: tuple[str, str], terms: Terms, make: Maker) -> None:
    (store.folder(two[0]) / "golden.npz").write_bytes(b"rot")
    with changing(store) as changes, pytest.raises(BundleError, match="altered"):
        changes.roll_back("by the operator", terms.trusted)
    assert store.current == two[1]
    with changing(store) as changes:
        changes.condemn(two[1], "slow")
        assert "the bundle stays, for" in changes.fall_back("slow", make.keys)
    assert store.current == two[1]


def test_what_was_rolled_back_can_be_activated_by_a_person(store: Store, two: tuple[str, str], terms: Terms) -> None:
    with changing(store) as changes:
        changes.condemn(two[1], "slow")
        changes.roll_back("slow", terms.trusted)
        assert store.history.verdict(two[1]) == "failed"
        changes.activate(two[1], terms.trusted)
    assert (store.current, store.previous) == (two[1], two[0])
    assert store.trial is not None
    assert store.history.verdict(two[1]) is None


def test_a_bundle_that_cannot_be_read_any_more_is_left(store: Store, two: tuple[str, str], terms: Terms) -> None:
    (store.folder(two[1]) / "manifest.json").write_text("{")
    with changing(store) as changes:
        changes.roll_back("by the operator", terms.trusted)
    assert store.current == two[0]
    last = store.history.entries()[-1]
    assert (last.what, last.version, last.name) == ("rolled back", 2, "random-tiny")


def test_what_an_operator_went_back_from_is_known_until_a_person_takes_it_again(
    store: Store, two: tuple[str, str], terms: Terms
) -> None:
    with changing(store) as changes:
        changes.roll_back("by the operator", terms.trusted)
        assert store.history.verdict(two[1]) == "rolled back"
        changes.activate(two[1], terms.trusted)
        assert store.history.verdict(two[1]) is None
        changes.commit(two[1])
        changes.roll_back("by the operator", terms.trusted)
        assert store.history.verdict(two[1]) == "rolled back"


def test_nobody_goes_back_to_what_has_failed_or_is_not_trusted(store: Store, make: Maker, terms: Terms) -> None:
    failed = install(store, make(1), terms, print)
    with changing(store) as changes:
        changes.condemn(failed, "slow")
        changes.end_trial()
    good = install(store, make(2), terms, print)
    assert (store.current, store.previous) == (good, None)
    with changing(store) as changes:
        changes.commit(good)
    third = install(store, make(3), terms, print)
    assert store.previous == good
    with changing(store) as changes:
        for deed in (lambda: changes.roll_back("by the operator", ()), lambda: changes.activate(good, ())):
            with pytest.raises(BundleError, match="not signed by a trusted key"):
                deed()
    assert store.current == third


def test_a_bundle_of_the_highest_version_that_never_was_committed_is_a_downgrade(
    store: Store, two: tuple[str, str], make: Maker, terms: Terms
) -> None:
    with changing(store) as changes:
        changes.commit(two[1])
    other = install(store, make(2, wrong=True), replace(terms, allow_downgrade=True), print)
    with changing(store) as changes:
        changes.condemn(other, "slow")
        changes.roll_back("slow", terms.trusted)
        with pytest.raises(StoreError, match="version 2 is not above 2"):
            changes.check_version(other, 2, allowed=False)
        assert changes.check_version(two[1], 2, allowed=False) == ""


def test_a_trial_ends_only_for_the_bundle_that_is_on_it(store: Store, two: tuple[str, str]) -> None:
    with changing(store) as changes:
        for end in (changes.commit, changes.condemn):
            with pytest.raises(StoreError, match="not on trial any more"):
                end(two[0], "")
        changes.commit(two[1])
        with pytest.raises(StoreError, match="not on trial any more"):
            changes.commit(two[1])


def test_only_what_nobody_needs_is_removed(store: Store, two: tuple[str, str]) -> None:
    with changing(store) as changes:
        with pytest.raises(StoreError, match="it is the current one"):
            changes.remove(two[1])
        with pytest.raises(StoreError, match="a trial may have to go back to it"):
            changes.remove(two[0])
        changes.commit(two[1])
        with held(store.folder(two[0])), pytest.raises(StoreError, match="a running process uses it"):
            changes.remove(two[0])
        changes.remove(two[0])
    assert [bundle.digest for bundle in store.installed()] == [two[1]]
    assert not (store.root / "previous").is_symlink()


def test_a_damaged_bundle_can_be_removed_and_is_listed(store: Store, two: tuple[str, str]) -> None:
    with changing(store) as changes:
        changes.commit(two[1])
    (store.folder(two[0]) / "manifest.json").write_text("rot")
    assert [b.manifest is None for b in store.installed()] == [b.digest == two[0] for b in store.installed()]
    with changing(store) as changes:
        changes.remove(two[0])
    assert len(store.installed()) == 1


def test_a_bundle_is_found_by_the_beginning_of_its_digest(store: Store, two: tuple[str, str]) -> None:
    assert store.find(two[0][:6]) == two[0]
    for name, problem in (("", "is too short"), (two[0][:5], "is too short"), ("0" * 64, "is no bundle of the store")):
        with pytest.raises(StoreError, match=problem):
            store.find(name)
    (store.root / (two[0][:63] + "?")).mkdir()
    (store.root / (two[0][:62] + ("0" if two[0][62] != "0" else "1") + "0")).mkdir()
    with pytest.raises(StoreError, match="means several bundles"):
        store.find(two[0][:6])


def test_a_damaged_trial_is_named(store: Store, two: tuple[str, str]) -> None:
    store.trial_path.write_text("[]")
    with pytest.raises(StoreError, match=r"trial\.json is damaged.*activate the bundle again"):
        assert store.trial


def test_a_torn_line_of_history_stays_alone(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    assert history.highest() == 0
    history.add(ENTRY)
    whole = (tmp_path / "history.jsonl").read_bytes()
    (tmp_path / "history.jsonl").write_bytes(whole + b'{"what": "commi')
    history.add(ENTRY)
    assert [entry.version for entry in history.entries()] == [4, 4]
    lines = (tmp_path / "history.jsonl").read_bytes().splitlines()
    assert len(lines) == 3
    assert lines[0] == whole.rstrip()
    assert json.loads(lines[2])["time"].endswith("+00:00")
    assert history.highest() == 4


def test_a_folder_is_in_use_while_it_is_held(tmp_path: Path) -> None:
    assert not in_use(tmp_path)
    with held(tmp_path), held(tmp_path):
        assert in_use(tmp_path)
    assert not in_use(tmp_path)
    with held(tmp_path / "missing"):
        pass


def test_who_locks_a_folder_for_himself_keeps_nobody_waiting_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold, "_PATIENCE_S", 0.2)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(StoreError, match="is locked by another process; see who: lslocks"), held(tmp_path):
        pass
    monkeypatch.setattr(hold, "_PATIENCE_S", 60.0)
    threading.Timer(0.1, os.close, (descriptor,)).start()
    with held(tmp_path):
        assert in_use(tmp_path)


def test_links_and_trials_may_vanish_while_they_are_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for question in ("exists", "is_symlink"):
        monkeypatch.setattr(Path, question, lambda path: True)
    assert (store.current, store.previous, store.trial) == (None, None, None)
