"""Killed before any system call that changes the disk, the store has one good current bundle, and goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..bundles import Maker

# Runs every child of one operation on a fresh copy of the store, and kills the n-th before its n-th call.
CHILDREN = """
import ctypes, os, shutil, signal, sys
from pathlib import Path
from jetvla.runtime.bundle import Bundle
from jetvla.runtime.keys import load_trusted
from jetvla.services.store.changes import changing
from jetvla.services.store.install import Terms, install
from jetvla.services.store.store import Store

place, operation, watch = Path(sys.argv[1]), sys.argv[2], ctypes.CDLL(os.environ["LD_PRELOAD"]).moments_watch
terms = Terms(load_trusted(place / "keys"), lambda bundle: "passed")
root, pattern, bundles = place / "store", place / "pattern", [place / f"made-{n}" for n in range(1, 6)]
quiet = lambda line: None

def prepare():
    store = Store(pattern)
    for bundle in bundles[: 0 if operation == "first" else 3 if operation == "remove" else 2]:
        digest = install(store, bundle, terms, quiet)
        with changing(store) as changes:
            changes.commit(digest)
    if operation in ("fail", "commit", "on trial"):
        install(store, bundles[2], terms, quiet)

def act(store):
    if operation in ("first", "next", "again"):
        install(store, bundles[2], terms, quiet)
        return
    if operation == "on trial":
        install(store, bundles[3], terms, quiet)
        return
    with changing(store) as changes:
        if operation == "roll back":
            changes.roll_back("by the operator", terms.trusted)
        elif operation == "fail":
            changes.condemn(store.trial.digest, "slow")
            changes.fall_back("slow", place / "keys")
            changes.end_trial()
        elif operation == "commit":
            changes.commit(store.trial.digest)
        elif operation == "remove":
            changes.remove(store.previous)

def check(store, allowed):
    assert store.current in allowed, store.current
    links = [path for path in root.iterdir() if path.is_symlink()]
    assert {path.name for path in links if not path.name.startswith(".")} <= {"current", "previous"}
    for digest in filter(None, (store.current, store.previous)):
        assert Bundle.open(store.folder(digest), terms.trusted).digest == digest
    if store.current is not None:
        assert Bundle.open(root / "current", terms.trusted).digest == store.current
    assert store.trial is None or store.trial.digest == store.current
    if operation == "on trial":
        assert store.trial is not None, "neither bundle has proved itself"

prepare()
old, final, left = Store(pattern), None, 0
before = old.current
for moment in range(-1, 1000):
    shutil.rmtree(root, ignore_errors=True)
    if pattern.exists():
        shutil.copytree(pattern, root, symlinks=True)
    store, said = Store(root), os.open(place / "calls", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    child = os.fork()
    if child == 0:
        watch(os.fsencode(root), moment, said)
        act(store)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    os.close(said)
    if moment < 0:
        assert status == 0
        final = store.current
        calls = (place / "calls").read_text()
        continue
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    if root.exists():
        check(store, {before, final})
        left += any(path.name.endswith(".partial") for path in root.iterdir())
    newest = install(store, bundles[4], terms, quiet)
    check(store, {newest})
    assert not [path.name for path in root.iterdir() if path.name.endswith(".partial")]
    assert len(store.installed()) <= 2
    if operation == "on trial":
        assert store.previous == old.previous
    if before is not None:
        assert store.previous in (before, final, old.previous)
print(moment, left)
print(calls)
"""


@pytest.fixture(scope="session")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, to count a process's system calls")
    library = tmp_path_factory.mktemp("moments") / "moments.so"
    source = Path(__file__).with_name("moments.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def killed(place: Path, operation: str, library: Path) -> tuple[int, int, list[str]]:
    """How many moments there were, after how many something was left over, and the calls of a whole run."""
    ran = subprocess.run(
        [sys.executable, "-c", CHILDREN, str(place), operation],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "LD_PRELOAD": str(library)},
    )
    assert ran.returncode == 0, ran.stderr
    numbers, *calls = ran.stdout.strip().splitlines()
    count, left = map(int, numbers.split())
    return count, left, calls


@pytest.mark.parametrize(
    ("operation", "least", "leftovers"),
    [
        ("first", 45, 30),
        ("next", 55, 30),
        ("roll back", 7, 1),
        ("fail", 8, 1),
        ("commit", 3, 0),
        ("remove", 6, 1),
        ("on trial", 55, 30),
    ],
)
def test_at_every_call(make: Maker, tmp_path: Path, moments: Path, operation: str, least: int, leftovers: int) -> None:
    for version in range(1, 6):
        make(version)
    count, left, calls = killed(tmp_path, operation, moments)
    assert len(calls) == count
    assert count >= least
    assert left >= leftovers
    if operation == "next":
        _check_order(calls)


def _check_order(calls: list[str]) -> None:
    """A power cut may lose what was not synchronised, and keep a rename that came later."""
    shown = next(i for i, call in enumerate(calls) if call.startswith("rename /") and "/." not in call)
    before = calls[:shown]
    folder = next(call.split()[1] for call in before if call.startswith("mkdir /."))
    written = {call.split()[1] for call in before if call.startswith("write") and call.split()[1].startswith(folder)}
    assert len(written) == 7
    for file in written:
        last = max(i for i, call in enumerate(before) if call == f"write {file}")
        assert f"sync {file}" in before[last:]
    assert f"sync {folder}" in before[before.index(f"sync {max(written)}") :]
    current = calls.index("rename /current")
    assert "sync " in calls[shown:current]
    assert "rename /previous" in calls[shown:current]
    assert any(call == "sync /history.jsonl" for call in calls[shown:current])
    assert "sync " in calls[current:]
