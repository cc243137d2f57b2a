"""The ring of spans: what was written is what is read, across restarts, laps and full disks."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.telemetry import spans
from jetvla.runtime.telemetry.span_reader import Span, SpanReader
from jetvla.runtime.telemetry.spans import SpanRing
from jetvla.runtime.telemetry.stages import STAGE_NAMES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guard.spans"


def filled(ring: SpanRing, first: int, end: int) -> list[Span]:
    """Write spans ``first`` to ``end``, all different."""
    written = [Span(STAGE_NAMES[n % len(STAGE_NAMES)], 1000 * n, 10 + n, 7 * n) for n in range(first, end)]
    for span in written:
        ring.add(span.stage, span.begin_ns, span.duration_ns, span.frame_ns)
    return written


def test_spans_are_read_as_they_were_written_each_once(path: Path) -> None:
    ring, reader = SpanRing(path, 42), SpanReader(path)
    written = filled(ring, 0, 20)
    batch = reader.read()
    assert (list(batch.spans), batch.lost, batch.started_ns, batch.pid) == (written, 0, 42, os.getpid())
    assert reader.read().spans == ()
    more = filled(ring, 20, 23)
    assert list(reader.read().spans) == more
    assert more[-1].end_ns == 22_000 + 32


def test_the_oldest_are_overwritten_and_counted_as_lost(path: Path) -> None:
    ring, reader = SpanRing(path, 0, capacity=8), SpanReader(path)
    filled(ring, 0, 3)
    assert len(reader.read().spans) == 3
    written = filled(ring, 3, 30)
    batch = reader.read()
    # The oldest may be the one that is being overwritten right now.
    assert batch.spans == tuple(written[-7:])
    assert batch.lost == 27 - 7


def test_a_reader_may_begin_now(path: Path) -> None:
    ring, reader = SpanRing(path, 0), SpanReader(path, from_now=True)
    filled(ring, 0, 5)
    assert reader.read().spans == ()
    later = filled(ring, 5, 6)
    assert list(reader.read().spans) == later


def test_a_restarted_daemon_is_read_from_its_start(path: Path) -> None:
    reader = SpanReader(path, from_now=True)
    filled(SpanRing(path, 1), 0, 5)
    reader.read()
    written = filled(SpanRing(path, 2), 0, 3)
    batch = reader.read()
    assert (list(batch.spans), batch.started_ns, batch.lost) == (written, 2, 0)


def test_more_than_two_to_the_32_spans(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring, reader = SpanRing(path, 0, capacity=8), SpanReader(path)
    ring._written = (1 << 32) - 3
    written = filled(ring, 0, 6)
    assert list(reader.read().spans[-6:]) == written


WRITER = """
import sys
from pathlib import Path
from jetvla.runtime.telemetry.spans import SpanRing
ring = SpanRing(Path(sys.argv[1]), 0, capacity=64)
for number in range(200_000):
    ring.add("step", number, number, number)
"""


def test_no_torn_span_is_read_from_a_writer_that_laps_the_reader(path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    reader, last, seen = SpanReader(path), -1, 0
    ended = False
    while not ended:
        ended = writer.poll() is not None
        if not path.exists():
            continue
        batch = reader.read()
        for span in batch.spans:
            assert span.begin_ns == span.duration_ns == span.frame_ns > last
            last = span.begin_ns
        seen += len(batch.spans) + batch.lost
    assert (writer.returncode, last, seen) == (0, 199_999, 200_000)


def test_without_room_for_the_whole_ring_there_is_none(path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    with pytest.raises(OSError, match="File too large") as error:
        SpanRing(path, 0)
    assert error.value.errno == errno.EFBIG
    assert list(path.parent.iterdir()) == []


def test_no_ring_and_a_strange_one_are_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JetvlaError, match=r"guard\.spans: no spans can be read .* start the daemons"):
        SpanReader(path).read()
    monkeypatch.setattr(spans, "VERSION", 99)
    SpanRing(path, 0)
    with pytest.raises(JetvlaError, match=r"no spans of this version; restart the daemons"):
        SpanReader(path).read()
    for torn in (b"", b"JVLASPAN"):
        path.write_bytes(torn)
        with pytest.raises(JetvlaError, match="no spans can be read"):
            SpanReader(path).read()
