"""One line on what a daemon does now, as ``systemctl status`` prints it."""

from __future__ import annotations

from jetvla.runtime.clock import NS_PER_S, Clock
from jetvla.runtime.telemetry.status import Status

# This much of a digest is for people.
SHORT = 12


class Rate:
    """Events per second, from a count that only grows, over at least a second; silent until that is over."""

    def __init__(self, clock: Clock, count: int = 0) -> None:
        self._clock = clock
        self._since_ns, self._from = clock.now_ns(), count
        self._said: tuple[str, ...] = ()

    def of(self, count: int, what: str) -> tuple[str, ...]:
        """``("9.9 <what>/s",)``, or nothing yet."""
        passed_ns = self._clock.now_ns() - self._since_ns
        if passed_ns >= NS_PER_S:
            self._said = (f"{(count - self._from) * NS_PER_S / passed_ns:.1f} {what}/s",)
            self._since_ns, self._from = self._since_ns + passed_ns, count
        return self._said


def guard_line(status: Status, rate: tuple[str, ...]) -> str:
    """State, the policy's rate if it is known, age of the frames that commands obey, bundle."""
    age = status.stages.get("age")
    parts = [f"{status.state} ({status.reason})", f"policy {status.policy}", *rate]
    if age is not None:
        parts.append(f"age p99 {age['p99']:.0f} ms")
    return "; ".join([*parts, f"bundle {status.bundle[:SHORT]}"])
