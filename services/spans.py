"""A daemon's ring of spans, opened where it can be."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from jetvla.runtime.clock import Clock
from jetvla.runtime.telemetry.spans import NoSpans, SpanRing, SpanSink

log = logging.getLogger(__name__)


@contextmanager
def open_spans(path: Path, clock: Clock) -> Iterator[SpanSink]:
    """A ring at ``path`` meanwhile. Without a place for it nothing is kept, which is said: no robot stops for that."""
    try:
        ring = SpanRing(path, clock.now_ns())
    except OSError as error:
        log.warning("no spans are kept: %s cannot be made: %s", path, error.strerror)
        yield NoSpans()
        return
    with closing(ring):
        yield ring
