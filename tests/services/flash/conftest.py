"""One right stand-in of everything that a flash needs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from flash_stand_ins import MAKE_BY_HAND, make_deb, make_l4t, tiny_root


@pytest.fixture
def l4t(tmp_path: Path) -> Path:
    return make_l4t(tmp_path, tiny_root, MAKE_BY_HAND)


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    return make_deb(tmp_path)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("correct horse battery staple\n")
    file.chmod(0o600)
    return file
