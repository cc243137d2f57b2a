"""The operator's dead man's switch: held by hand, heard as a heartbeat."""

from __future__ import annotations

from jetvla.runtime.clock import NS_PER_S, seconds_to_ns


class Deadman:
    """Knows whether somebody holds the switch.

    Args:
        required: False where none is configured; then nothing here is ever wrong.
        silence_s: longest time between two heartbeats that say "held".
    """

    def __init__(self, required: bool, silence_s: float) -> None:
        self._required = required
        self._silence_ns = seconds_to_ns(silence_s)
        self._beat: tuple[bool, int] | None = None

    def heard(self, held: bool, now_ns: int) -> None:
        """A heartbeat has come."""
        self._beat = held, now_ns

    def problem(self, now_ns: int) -> str:
        """Why the robot must not move at ``now_ns``; empty if it may."""
        if not self._required:
            return ""
        if self._beat is None:
            return "no heartbeat of the deadman switch has come yet"
        held, heard_ns = self._beat
        if not held:
            return "the deadman switch is released"
        silence_ns = now_ns - heard_ns
        if silence_ns > self._silence_ns:
            return f"no heartbeat of the deadman switch for {silence_ns / NS_PER_S:.3f} s"
        return ""
