"""A store, and terms on which anything of the right key may be installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.keys import load_trusted
from jetvla.services.store.install import Terms
from jetvla.services.store.store import Store

from ..bundles import Maker


def passes(bundle: Bundle) -> str:
    """A self-test that looks at nothing; the real one has tests of its own."""
    return "passed"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def terms(make: Maker) -> Terms:
    return Terms(load_trusted(make.keys), passes)
