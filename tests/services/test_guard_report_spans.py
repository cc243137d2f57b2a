"""The spans of a guard's report."""

from __future__ import annotations

import numpy as np
import pytest

from jetvla.runtime.clock import FakeClock
from jetvla.runtime.link.protocol import ChunkMessage, Health, StageTimes
from jetvla.services.guard_report import GuardReport


class Kept:
    def __init__(self) -> None:
        self.spans: list[tuple[str, int, int, int]] = []

    def add(self, stage: str, begin_ns: int, duration_ns: int, frame_ns: int = 0) -> None:
        self.spans.append((stage, begin_ns, duration_ns, frame_ns))


@pytest.mark.parametrize(("sent_ns", "begin_ns", "duration_ns"), [(600, 600, 400), (1500, 1000, 0)])
def test_a_chunk_is_sent_before_it_is_taken_in_whatever_the_policy_noted(
    sent_ns: int, begin_ns: int, duration_ns: int
) -> None:
    report = GuardReport(FakeClock(1000), "")
    report.spans = kept = Kept()
    report.chunk(ChunkMessage(np.zeros((1, 2), np.float32), 100, 1, 1, 0))
    report.health(Health(sent_ns, StageTimes(), ()))
    assert kept.spans == [("link", begin_ns, duration_ns, 100)]
