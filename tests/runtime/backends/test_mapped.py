"""Pages of a file can be let go of, and are there again when they are read."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetvla.runtime.backends.mapped import let_go

SIZE = 64 * mmap.PAGESIZE


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "some weights.data"
    path.write_bytes(b"\x07" * SIZE)
    return path


@pytest.fixture
def mapped(weights: Path) -> Iterator[mmap.mmap]:
    """As an inference library maps them: private and writable."""
    with weights.open("rb") as file, mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_COPY) as pages:
        assert pages.read() == b"\x07" * SIZE
        yield pages


def resident(file: Path) -> int:
    """Bytes of ``file`` that this process has in memory."""
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    (part,) = [p for p in parts if str(file) in p]
    return int(part.split("\nRss:")[1].split()[0]) * 1024


def test_clean_pages_go_and_come_back(weights: Path, mapped: mmap.mmap) -> None:
    assert resident(weights) == SIZE
    assert let_go(weights) == SIZE
    assert resident(weights) == 0
    assert mapped[:] == b"\x07" * SIZE


def test_what_was_written_is_kept(weights: Path, mapped: mmap.mmap) -> None:
    mapped[0] = 9
    assert let_go(weights) == 0
    assert resident(weights) == SIZE
    assert mapped[0] == 9


def test_another_files_pages_stay(weights: Path, mapped: mmap.mmap) -> None:
    assert let_go(weights.with_name("weights.data")) == 0
    assert resident(weights) == SIZE
    assert mapped[0] == 7
