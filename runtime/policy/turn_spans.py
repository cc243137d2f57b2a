"""What the policy ran when, from its turns."""

from __future__ import annotations

from jetvla.runtime.policy.loop import Turn
from jetvla.runtime.telemetry.spans import SpanSink

_AFTER_CAPTURE = ("preprocess", "tokenize", "language", "step")


class TurnSpans:
    """Watches the policy's loop: a chunk's stages follow each other from the capture of its frame on."""

    def __init__(self, spans: SpanSink) -> None:
        self._spans = spans

    def __call__(self, turn: Turn) -> None:
        if turn.chunk is None:
            return
        frame_ns, stages = turn.chunk.t0_ns, turn.stages
        self._spans.add("capture", frame_ns, stages.capture, frame_ns)
        began_ns = frame_ns + stages.capture
        for name in _AFTER_CAPTURE:
            # The language stages run once an instruction; their zero means that they did not run.
            if duration_ns := getattr(stages, name):
                self._spans.add(name, began_ns, duration_ns, frame_ns)
                began_ns += duration_ns
