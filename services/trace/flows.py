"""The arrows that follow a frame from its capture over step and link to the command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jetvla.runtime.telemetry.span_reader import Span

# Minutes at any camera's rate: the two rings are never read that far apart.
KEPT = 4096
_PHASES = {"capture": "s", "step": "t", "link": "t", "publish": "f"}


class Flows:
    """Ties the slices of a frame together, whichever process's come first.

    Attributes:
        captured: frames whose capture is in the trace.
        commanded: those of them whose command is too.
    """

    def __init__(self) -> None:
        self._begun: dict[int, None] = {}
        self._waiting: dict[int, list[dict[str, Any]]] = {}
        self.captured = self.commanded = 0

    def of(self, span: Span, slice_: dict[str, Any], frame: int) -> Iterator[dict[str, Any]]:
        """Events to stand behind ``slice_``, which is that of ``span``, and behind those before it.

        Args:
            frame: number of the flow.
        """
        # A heartbeat's health may name an older chunk: no arrow leads back in time.
        phase = _PHASES.get(span.stage)
        if phase is None or not span.frame_ns or span.begin_ns < span.frame_ns:
            return
        event = {"ph": phase, "cat": "frame", "name": "frame", "id": frame}
        event |= {name: slice_[name] for name in ("pid", "tid", "ts")}
        if phase == "f":
            event["bp"] = "e"
        if phase != "s":
            yield from self._step(frame, event)
        elif frame not in self._begun:
            yield event
            yield from self._begin(frame)

    def _begin(self, frame: int) -> Iterator[dict[str, Any]]:
        self._begun[frame] = None
        self.captured += 1
        _trim(self._begun)
        for event in self._waiting.pop(frame, ()):
            yield from self._step(frame, event)

    def _step(self, frame: int, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """An arrow needs a beginning: the guard's spans of a frame are often read before the policy's."""
        if frame in self._begun:
            self.commanded += event["ph"] == "f"
            yield event
        else:
            self._waiting.setdefault(frame, []).append(event)
            _trim(self._waiting)


def _trim(frames: dict[int, Any]) -> None:
    """Forget the oldest."""
    if len(frames) > KEPT:
        del frames[next(iter(frames))]
