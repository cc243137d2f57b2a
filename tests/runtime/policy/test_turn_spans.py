"""The spans of the policy's turns."""

from __future__ import annotations

import numpy as np

from jetvla.runtime.contracts import ActionChunk
from jetvla.runtime.link.protocol import Idle, IdleReason, StageTimes
from jetvla.runtime.policy.loop import Turn
from jetvla.runtime.policy.turn_spans import TurnSpans


class Kept:
    def __init__(self) -> None:
        self.spans: list[tuple[str, int, int, int]] = []

    def add(self, stage: str, begin_ns: int, duration_ns: int, frame_ns: int = 0) -> None:
        self.spans.append((stage, begin_ns, duration_ns, frame_ns))


def turn(stages: StageTimes, idle: Idle | None = None) -> Turn:
    chunk = ActionChunk(np.zeros((1, 2), np.float32), t0_ns=5_000, dt_ns=1, instruction_id=1, bundle="", seq=0)
    return Turn(None if idle else chunk, idle, stages, started_ns=6_000, sent_ns=9_000)


def test_stages_follow_each_other_from_the_capture_on() -> None:
    kept = Kept()
    TurnSpans(kept)(turn(StageTimes(capture=1000, preprocess=100, tokenize=10, language=20, step=500)))
    assert kept.spans == [
        ("capture", 5_000, 1000, 5_000),
        ("preprocess", 6_000, 100, 5_000),
        ("tokenize", 6_100, 10, 5_000),
        ("language", 6_110, 20, 5_000),
        ("step", 6_130, 500, 5_000),
    ]


def test_what_did_not_run_is_no_span() -> None:
    kept = Kept()
    TurnSpans(kept)(turn(StageTimes(capture=1000, preprocess=100, step=500)))
    assert [stage for stage, *_ in kept.spans] == ["capture", "preprocess", "step"]
    TurnSpans(kept)(turn(StageTimes(step=500), Idle(IdleReason.NO_INSTRUCTION)))
    assert len(kept.spans) == 3
