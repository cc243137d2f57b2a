"""Whatever is done to an audit log, ``verify`` finds it, near the place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetvla.runtime.audit.folder import files_of
from jetvla.runtime.audit.log import AuditLog
from jetvla.runtime.audit.verify import Report, verify
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.events import Event

Lines = list[bytes]
FILES = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of several files."""
    folder = tmp_path_factory.mktemp("audit")
    log = AuditLog(folder, "ab" * 32, "cd" * 32, max_bytes=5000, max_files=100)
    log.take(Event(i * 10**9, "fault", f"number {i}", State.ARMED, "stall", raw=(i / 7,)) for i in range(50))
    log.close()
    assert verify(folder).findings == []
    assert len(files_of(folder)) >= FILES
    return folder


def tampered(whole: Path, index: int, change: Callable[[Lines], Lines]) -> tuple[Report, Path]:
    """The report of a copy in which ``change`` was done to the lines of one file."""
    copy = whole.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    path = files_of(copy)[index]
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    return verify(copy), path


def line_of(data: st.DataObject, lines: Lines, last: int = 0) -> int:
    return data.draw(st.integers(0, len(lines) - 1 - last), label="line")


@settings(max_examples=150, deadline=None)
@given(index=st.integers(0, FILES - 1), data=st.data())
def test_a_changed_byte_is_found_at_its_line(whole: Path, index: int, data: st.DataObject) -> None:
    where = []

    def change(lines: Lines) -> Lines:
        where.append(line_of(data, lines))
        line = bytearray(lines[where[0]])
        place = data.draw(st.integers(0, len(line) - 2), label="byte")
        line[place] ^= data.draw(st.integers(1, 255), label="flip")
        return [*lines[: where[0]], bytes(line), *lines[where[0] + 1 :]]

    report, path = tampered(whole, index, change)
    assert any(abs(f.line - 1 - where[0]) <= 1 for f in report.findings if f.path == path)


@settings(max_examples=75, deadline=None)
@given(index=st.integers(0, FILES - 1), data=st.data())
def test_removed_lines_are_found(whole: Path, index: int, data: st.DataObject) -> None:
    def change(lines: Lines) -> Lines:
        first = line_of(data, lines)
        count = data.draw(st.integers(1, len(lines) - first))
        return lines[:first] + lines[first + count :]

    assert tampered(whole, index, change)[0].findings


@settings(max_examples=75, deadline=None)
@given(index=st.integers(0, FILES - 1), data=st.data())
def test_two_lines_that_change_places_are_found(whole: Path, index: int, data: st.DataObject) -> None:
    where = []

    def change(lines: Lines) -> Lines:
        a = line_of(data, lines, last=1)
        b = data.draw(st.integers(a + 1, len(lines) - 1))
        where.append(a)
        lines[a], lines[b] = lines[b], lines[a]
        return lines

    report, path = tampered(whole, index, change)
    assert any(f.line - 1 == where[0] for f in report.findings if f.path == path)


@settings(max_examples=75, deadline=None)
@given(index=st.integers(0, FILES - 1), text=st.binary(min_size=1, max_size=20), data=st.data())
def test_an_inserted_line_is_found(whole: Path, index: int, text: bytes, data: st.DataObject) -> None:
    def change(lines: Lines) -> Lines:
        place = line_of(data, lines)
        new = data.draw(st.sampled_from([text.replace(b"\n", b"") + b"\n", lines[place], lines[0]]))
        return [*lines[:place], new, *lines[place:]]

    assert tampered(whole, index, change)[0].findings


@pytest.mark.parametrize("gone", range(FILES))
def test_a_missing_file_is_found(whole: Path, gone: int, tmp_path: Path) -> None:
    copy = tmp_path / "audit"
    shutil.copytree(whole, copy)
    path = files_of(copy)[gone]
    after = files_of(copy)[gone + 1 :]
    path.unlink()
    findings = verify(copy).findings
    assert findings[0].path == (after[0] if after else files_of(copy)[-1])
    assert "missing" in findings[0].what if after else "truncated" in findings[0].what


def test_one_file_can_be_checked_by_itself(whole: Path) -> None:
    assert verify(files_of(whole)[1]).findings == []
