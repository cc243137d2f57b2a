"""Is an audit log whole? Finds lines that were removed, changed, reordered or inserted, and files that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jetvla.runtime.audit.chain import GENESIS, Link, digest_of, parse
from jetvla.runtime.audit.folder import MAX_FILES, file_number, files_of
from jetvla.runtime.audit.head import NAME as HEAD
from jetvla.runtime.audit.head import Head, read_head
from jetvla.runtime.errors import JetvlaError


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at ``line`` of ``path``, counted from 1."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(slots=True)
class Report:
    """What was found.

    Attributes:
        findings: everything that should not be; empty for a whole log.
        notes: what happened to the log in good order: a crash, lost lines, rotation.
        files, lines: how many were read.
        last: the newest line.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    lines: int = 0
    last: Link | None = None


def verify(path: Path, max_files: int = MAX_FILES) -> Report:
    """Check a folder, or one file of it by itself.

    Rotation leaves the newest ``max_files`` files: what lacks of them was removed. A torn last line is what a crash
    leaves, and is noted. A cut tail is a finding: ``audit.head`` names a later line than the last one there. Lines
    newer than the last fsync (a second before a crash) can be cut unseen.

    Raises:
        JetvlaError: there is no audit log at ``path``.
    """
    try:
        files = log_files(path)
        verifier = _Verifier(read_head(path) if path.is_dir() else None)
        for file in files:
            verifier.file(file, newest=file == files[-1])
        if path.is_dir():
            verifier.begins(files, max_files)
    except OSError as error:
        raise unreadable(path, error) from error
    if path.is_dir():
        head = path / HEAD
        verifier.end(files[-1], unsynced=len(files) == 1 and head.exists() and head.stat().st_size == 0)
    return verifier.report


def log_files(path: Path) -> list[Path]:
    """The files of the log at ``path``, a folder or one of its files; JetvlaError if a folder holds none."""
    files = files_of(path) if path.is_dir() else [path]
    if not files:
        raise JetvlaError(f"{path} holds no audit log: no file is called audit-00000001.jsonl or the like")
    return files


def unreadable(path: Path, error: OSError) -> JetvlaError:
    """What to do about ``error``, which ``path`` gave."""
    missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
    remedy = "is it the folder of the audit log?" if missing else "may you read it?"
    return JetvlaError(f"{path}: cannot be read: {error.strerror}; {remedy}")


class _Verifier:
    """Goes through the lines in order. After a finding it goes on from the line that is there."""

    def __init__(self, head: Head | None) -> None:
        self.report = Report()
        self._head = head
        self._number: int | None = None
        self._rest: list[bytes] = []
        self._anchored = True
        self._place = (Path(), 0)

    def file(self, path: Path, newest: bool) -> None:
        """Check one file against those before it."""
        self._sequence(path)
        self.report.files += 1
        line = 0
        for line, (data, whole) in enumerate(_lines(path), 1):
            link = parse(data)
            if link is not None:
                self._link(path, line, link)
            elif whole or not newest:
                self._rest.append(data)
            else:
                self.report.notes.append(f"{path}:{line}: torn last line of {len(data)} bytes: a crash, or written now")
        self._damaged(path, line + 1)

    def _sequence(self, path: Path) -> None:
        number = file_number(path)
        before, self._number = self._number, number
        if number is None or before is None:
            # Of one file alone, and of the oldest one that rotation has left, nothing says what came before.
            self._anchored = number == 1
            if number is not None and number > 1:
                self.report.notes.append(f"begins with {path.name}; what came before is not here")
        elif number != before + 1:
            gone = f"file {before + 1}" if number == before + 2 else f"files {before + 1} to {number - 1}"
            self._find(path, 1, f"{gone} between this one and the one before is missing")
            self._anchored, self.report.last = False, None

    def _link(self, path: Path, line: int, link: Link) -> None:
        self._torn(path, line, link)
        self._follows(path, line, link)
        self._remember(path, line, link)
        self.report.lines += 1
        self.report.last, self._place = link, (path, line)

    def _torn(self, path: Path, line: int, link: Link) -> None:
        """Lines that are none belong to a crash if the line behind them says so."""
        if link.kind == "torn" and self._rest and link.entry.get("sha256") == digest_of(b"\n".join(self._rest)):
            self.report.notes.append(f"{path}:{line - len(self._rest)}: torn line, noted at the next start")
            self._rest.clear()
        self._damaged(path, line)

    def _damaged(self, path: Path, line: int) -> None:
        for index in range(len(self._rest)):
            self._find(path, line - len(self._rest) + index, "not a line of an audit log: changed or inserted")
        self._rest.clear()

    def _follows(self, path: Path, line: int, link: Link) -> None:
        last = self.report.last
        if last is None:
            if self._anchored and (link.seq, link.prev) != (0, GENESIS):
                self._find(path, line, f"begins with line number {link.seq}, not 0: what came before is removed")
        elif link.seq > last.seq + 1:
            self._find(path, line, f"follows on number {last.seq} with {link.seq}: lines between are removed")
        elif link.seq <= last.seq:
            self._find(path, line, f"number {link.seq} stands after {last.seq}: reordered or inserted")
        elif link.prev != last.digest:
            self._find(*self._place, "is not the line that the next one follows on: one of the two was changed")

    def _remember(self, path: Path, line: int, link: Link) -> None:
        if self._head is not None and link.seq == self._head.seq and link.digest != self._head.sha256:
            self._find(path, line, f"is not the line that {HEAD} names: changed")
        if link.kind == "missing":
            self._find(path, line, f"{link.entry.get('count')} lines before this one were cut off while nobody wrote")
        elif link.kind == "lost":
            self.report.notes.append(
                f"{path}:{line}: {link.entry.get('count')} lines could not be written: {link.entry.get('reason')}"
            )

    def begins(self, files: list[Path], max_files: int) -> None:
        """What rotation would not have taken must be there."""
        first, newest = file_number(files[0]) or 0, file_number(files[-1]) or 0
        oldest = max(1, newest - max_files + 1)
        if first > oldest:
            gone = f"file {oldest} is" if first == oldest + 1 else f"files {oldest} to {first - 1} are"
            self._find(files[0], 1, f"{gone} missing before this one; rotation keeps {max_files}")

    def end(self, path: Path, unsynced: bool) -> None:
        """What the newest file cannot say of itself."""
        last = -1 if self.report.last is None else self.report.last.seq
        if self._head is None and not unsynced:
            self._find(path, _count(path), f"{HEAD} is missing or damaged: whether the tail was cut off is unknown")
        elif self._head is None:
            self.report.notes.append("killed before the first fsync")
        elif self._head.seq > last:
            count = self._head.seq - last
            self._find(path, _count(path) + 1, f"truncated: {count} lines up to number {self._head.seq} are cut off")
        elif self._head.seq < last:
            self.report.notes.append(f"{last - self._head.seq} lines are newer than the last fsync: running, or killed")

    def _find(self, path: Path, line: int, what: str) -> None:
        self.report.findings.append(Finding(path, line, what))


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Every line without its line feed, and whether it had one."""
    with path.open("rb") as file:
        for data in file:
            yield data.removesuffix(b"\n"), data.endswith(b"\n")


def _count(path: Path) -> int:
    return sum(1 for _ in _lines(path))
