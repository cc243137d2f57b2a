"""Fixtures for every test. Nothing here may need torch: the runtime's tests run without it."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from jetvla.runtime.bundle import MANIFEST, SIGNATURE
from jetvla.runtime.keys import create_key_pair, load_private_key, sign

_FILE_SIZE = resource.getrlimit(resource.RLIMIT_FSIZE)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Tests play a full disk by a limit on the size of files, under which no report could be written."""
    try:
        return (yield)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, _FILE_SIZE)


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """A small bundle of family end_to_end with random weights, unsigned; made by tests/data/make_tiny_bundle.py.

    Camera ``front`` 32x32, twist and gripper, H = 1, fp32 and int8-fp32. Read-only: copy it before changing it.
    """
    return Path(__file__).parent / "data" / "tiny-bundle"


@pytest.fixture
def signed_bundle(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A copy of the tiny bundle in ``bundle``, signed by the key ``test`` whose pair lies in ``keys`` beside it."""
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    key, _ = create_key_pair("test", tmp_path / "keys")
    (bundle / SIGNATURE).write_bytes(sign((bundle / MANIFEST).read_bytes(), load_private_key(key)))
    return bundle
