"""Frames that the policy acted on, and whether a command answered them in time."""

from __future__ import annotations

from collections import deque

# Older ones are settled: a guard that has stopped answers none of them.
_KEPT = 4096


class Answers:
    """Counts frames that no command obeyed, nor a newer frame in their place, within ``deadline_ns`` of their capture.

    A frame that a command obeyed has an age, and is not counted here whatever it is. Frames come in the order of their
    capture; those of the policy may be told later than the guard's commands.
    """

    def __init__(self, deadline_ns: int) -> None:
        self._deadline_ns = deadline_ns
        self._waiting: deque[int] = deque()
        self._obeyed: deque[tuple[int, int]] = deque(maxlen=_KEPT)
        self._settled = self._now_ns = 0

    def acted(self, frame_ns: int) -> None:
        """The policy has made a chunk of a frame."""
        if self._obeyed and self._obeyed[-1][0] >= frame_ns:
            self._settle(frame_ns, *next(answer for answer in self._obeyed if answer[0] >= frame_ns))
            return
        self._waiting.append(frame_ns)
        if len(self._waiting) > _KEPT:
            self._waiting.popleft()
            self._settled += 1

    def obeyed(self, frame_ns: int, at_ns: int) -> None:
        """The first command that obeys a frame was published."""
        self._obeyed.append((frame_ns, at_ns))
        while self._waiting and self._waiting[0] <= frame_ns:
            self._settle(self._waiting.popleft(), frame_ns, at_ns)

    def ticked(self, now_ns: int) -> None:
        """The guard ran until ``now_ns``."""
        self._now_ns = now_ns

    @property
    def missed(self) -> int:
        """Frames without an answer in time; one whose time is not over yet is none of them."""
        return self._settled + sum(self._late(frame_ns, self._now_ns) for frame_ns in self._waiting)

    def _settle(self, frame_ns: int, obeyed_ns: int, at_ns: int) -> None:
        self._settled += frame_ns != obeyed_ns and self._late(frame_ns, at_ns)

    def _late(self, frame_ns: int, at_ns: int) -> bool:
        return at_ns - frame_ns > self._deadline_ns
