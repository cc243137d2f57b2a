"""Whether a bundle on trial is kept: a decision about reports, without I/O and without a clock of its own.

Time is counted in the guard's ticks that followed a chunk within its time, armed or in shadow, while guard and policy
both have the bundle. So it stands still while an engine is built, a camera is away or nobody has said anything, and
none of that can commit a bundle or condemn it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from jetvla.runtime.config import TrialConfig
from jetvla.runtime.guard.arming import State
from jetvla.runtime.telemetry.status import Status

# Faults of the guard that no camera, network or operator can cause.
_POLICY_FAULTS = ("bad_chunk", "excess", "violation", "travel")
_DEADLINE_FAULTS = ("stale_chunk", "late_chunks")
MOVING = (State.ARMED.value, State.STOPPING.value)


class Decision(Enum):
    """``WAIT``: go on looking. ``COMMIT``: keep the bundle. ``ROLL_BACK``: stop the daemons, take the previous one."""

    WAIT = "wait"
    COMMIT = "commit"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True)
class Tally:
    """What one guard process has counted since its start.

    Attributes:
        followed, clipped: ticks, as in :class:`Status`.
        missed: deadlines.
        faults: of the policy's making, how often by name.
    """

    followed: int = 0
    clipped: int = 0
    missed: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, status: Status) -> Tally:
        missed = sum(status.counts.get(name, 0) for name in _DEADLINE_FAULTS)
        faults = Counter({name: status.counts.get(name, 0) for name in _POLICY_FAULTS})
        return cls(status.followed, status.clipped, missed, faults)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.followed + other.followed,
            self.clipped + other.clipped,
            self.missed + other.missed,
            self.faults + other.faults,
        )

    def __sub__(self, former: Tally) -> Tally:
        return Tally(
            self.followed - former.followed,
            self.clipped - former.clipped,
            self.missed - former.missed,
            self.faults - former.faults,
        )


class HealthGate:
    """Judges one trial.

    The guard stops the robot, and this does not: a trial that has failed while the robot is armed is rolled back once
    the guard reports that it stopped, by an operator or by a fault.

    Args:
        digest: of the bundle on trial.
        rate_hz: ticks per second of the guard.

    Attributes:
        restarts: of policy and guard, that are the bundle's.
        failure: why the bundle is not kept; empty as long as it may be.
    """

    def __init__(self, digest: str, limits: TrialConfig, rate_hz: float) -> None:
        self._digest, self._limits, self._rate_hz = digest, limits, rate_hz
        self._before, self._now, self._pid = Tally(), Tally(), 0
        self._others = Tally()
        self._restarts_seen, self._another_ran = -1, False
        self.restarts = 0
        self.failure = ""

    @property
    def tally(self) -> Tally:
        """Over all guard processes of the trial."""
        return self._before + self._now

    @property
    def seconds(self) -> float:
        """How long the bundle has been good, of the configured time."""
        return self.tally.followed / self._rate_hz

    def look(self, status: Status | None, restarts: int) -> Decision:
        """Decide on the newest report.

        Args:
            status: fresh; None if no guard reports.
            restarts: of policy and guard as their manager counts them; it may begin anew at any time.
        """
        self._count_restarts(status, restarts)
        if status is not None and status.bundle == self._digest:
            self._count(status)
        self.failure = self.failure or self._failure(status)
        if self.failure:
            moving = status is not None and status.state in MOVING
            return Decision.WAIT if moving else Decision.ROLL_BACK
        return Decision.COMMIT if self.seconds >= self._limits.seconds else Decision.WAIT

    def _count(self, status: Status) -> None:
        if status.pid != self._pid:
            self._before, self._pid = self.tally, status.pid
            self._now = self._others = Tally()
        if self._runs(status):
            self._now = Tally.of(status) - self._others
        else:
            # The policy's bundle is another one still: what it makes the guard count is not this one's.
            self._others = Tally.of(status) - self._now

    def _runs(self, status: Status) -> bool:
        """Whether guard and policy both have the bundle on trial."""
        return status.bundle == status.policy_bundle == self._digest

    def _count_restarts(self, status: Status | None, restarts: int) -> None:
        """It begins at the first figure, and anew at the first report after those of another bundle, whose restarts say
        nothing of this one. A smaller figure than before has begun at zero.
        """
        another = status is not None and {status.bundle, status.policy_bundle} - {self._digest, ""} != set()
        if self._restarts_seen >= 0 and not another and (status is None or not self._another_ran):
            self.restarts += restarts - self._restarts_seen if restarts >= self._restarts_seen else restarts
        self._restarts_seen = restarts
        if status is not None:
            self._another_ran = another

    def _failure(self, status: Status | None) -> str:
        """Why the bundle is not kept; empty as long as it may be."""
        limits, tally = self._limits, self.tally
        if status is not None and self._runs(status) and status.golden is False:
            return "the golden self-test failed on this engine"
        if found := [name for name in _POLICY_FAULTS if tally.faults[name]]:
            return f"the guard found {', '.join(found)}"
        if tally.missed > limits.missed:
            return f"{tally.missed} missed deadlines, and {limits.missed} are allowed"
        # Reports come now and then, and the last one may tell of more ticks than were needed.
        allowed = limits.clipped * max(limits.seconds * self._rate_hz, tally.followed)
        if tally.clipped > allowed:
            return f"clipped in {tally.clipped} ticks, and {allowed:.0f} are allowed"
        if self.restarts > limits.restarts:
            return f"{self.restarts} restarts of policy or guard, and {limits.restarts} are allowed"
        return ""
