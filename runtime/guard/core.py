"""The guard: from messages and time to commands that are always legal."""

from __future__ import annotations

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import Clock
from jetvla.runtime.contracts import Command, Verdict
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.axes import Vector, blocks_of
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.events import TickResult
from jetvla.runtime.guard.faults import Finding
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.listener import Listener
from jetvla.runtime.guard.preconditions import undeclared
from jetvla.runtime.guard.source import Request
from jetvla.runtime.guard.targets import REST, Target
from jetvla.runtime.guard.ticks import TickTimer
from jetvla.runtime.guard.travel import Travel


class Guard(Listener):
    """Owns the decision what the robot is told, and when it is told nothing.

    Not thread-safe: call everything from the loop that calls :meth:`tick`. Nothing here blocks, and nothing
    that the policy sends makes it raise. Its arguments are those of :class:`Listener`.
    """

    def __init__(
        self,
        spec: ActionSpec,
        timing: ChunkTiming,
        limits: Limits,
        rate_hz: float,
        bundle: str,
        clock: Clock,
        needs_deadman: bool = False,
        needs_feedback: bool = False,
    ) -> None:
        super().__init__(spec, timing, limits, rate_hz, bundle, clock, needs_deadman, needs_feedback)
        self._travel = Travel(spec.names, blocks_of(spec, limits), 1.0 / rate_hz)
        self._timer = TickTimer(1.0 / rate_hz, limits)
        self._seq = 0

    # What an operator asks for

    @property
    def state(self) -> State:
        return self._reactions.state

    @property
    def publishing(self) -> bool:
        """Whether ticks give commands: while armed, and after that until the robot has been at rest for a while."""
        return self._publication.on

    @property
    def locked(self) -> bool:
        """The robot may be moving, so whoever may change limits, bundle or configuration must refuse to."""
        return self.publishing or self.state in (State.ARMED, State.STOPPING)

    @property
    def latched_by(self) -> str:
        """Why it is latched; empty when it is not."""
        return self._reactions.latched_by

    @property
    def faults(self) -> dict[str, str]:
        """Faults that were there at the last tick, with their reasons."""
        return self._reactions.active

    def refusals(self) -> tuple[str, ...]:
        """Every reason why arming would be refused now; empty if it would be granted."""
        reasons = []
        if self.state is State.LATCHED:
            reasons.append(f"latched, reset first: {self.latched_by}")
        elif self.state is not State.DISARMED:
            reasons.append(f"state is {self.state.value}")
        now_ns = self._clock.now_ns()
        reasons += [f"{name}: {why}" for name, why in self._found(now_ns).items()]
        self._motion.measured(self._senses.feedback.at(now_ns))
        return (*reasons, *undeclared(self._spec, self._motion.start, self._senses.feedback.stale(now_ns)))

    def arm(self) -> tuple[str, ...]:
        """Let the policy move the robot. Returns why not; empty if armed."""
        if reasons := self.refusals():
            return self._refuse("arming", reasons)
        self._settle()
        self._publication.begin()
        self._reactions.go(State.ARMED, "armed by the operator")
        return ()

    def disarm(self) -> None:
        """Controlled stop, then disarmed."""
        self.stop("disarmed by the operator")

    def stop(self, reason: str) -> None:
        """Controlled stop for ``reason``; nothing to do unless armed."""
        self._reactions.stop(reason)

    def reset(self) -> tuple[str, ...]:
        """Leave LATCHED. Returns why not; empty if it is now disarmed."""
        checks = (
            (self.state is not State.LATCHED, f"state is {self.state.value}, not LATCHED"),
            (self.publishing, "the robot is not stopped yet"),
            (self._watch.estop, "emergency stop is pressed"),
        )
        if reasons := tuple(why for wrong, why in checks if wrong):
            return self._refuse("reset", reasons)
        self._settle()
        self._reactions.go(State.DISARMED, "reset by the operator")
        return ()

    def resume(self, values: Vector) -> None:
        """Begin where another guard ended, which last published ``values`` float64 [D]; for replays."""
        self._motion.values = values
        self._motion.published()
        self._settle()

    def _settle(self) -> None:
        self._source.forget()
        self._motion.settle()
        self._targets.settle()
        self._travel.settle()

    def _refuse(self, what: str, reasons: tuple[str, ...]) -> tuple[str, ...]:
        self._log.add("refusal", f"{what} refused: {'; '.join(reasons)}", self.state)
        return reasons

    # Time

    def tick(self) -> TickResult:
        """Decide what the robot is told now."""
        now_ns = self._clock.now_ns()
        dt_s = self._elapsed(now_ns)
        self._motion.measured(self._senses.feedback.at(now_ns))
        self._observe()
        request, findings = self._source.request(now_ns)
        self._reactions.report(findings)
        target = self._target(request, now_ns)
        self._move(target.values, request.values, dt_s, now_ns)
        verdict = Verdict(self._reason(request, target), target.clipped, request.frame_ns)
        command = self._command(now_ns)
        self._seq += 1
        return TickResult(self.state, command, verdict, self._log.drain(), self._motion.values)

    def _elapsed(self, now_ns: int) -> float:
        dt_s, finding = self._timer.tick(now_ns)
        if finding is not None:
            self._reactions.report([finding])
            if finding.fault == "broken_clock":
                self._motion.blocked = True
        return dt_s

    def _target(self, request: Request, now_ns: int) -> Target:
        values = request.values
        if values is None or self._reactions.ending:
            return REST
        target = self._targets.of(request, values, now_ns)
        new, findings = self._source.count(request, target.excessive)
        if new and target.clipped:
            reason = f"beyond velocity, range or box: {', '.join(target.clipped)}"
            raw, sent = tuple(values.tolist()), tuple(target.bounded.tolist())
            self._log.add("clip", reason, self.state, raw=raw, sent=sent)
        self._reactions.report(findings)
        return REST if self._reactions.ending else target

    def _move(self, target: Vector | None, raw: Vector | None, dt_s: float, now_ns: int) -> None:
        violation = self._motion.advance(target, dt_s)
        excess = self._travel.add(self._motion.values, now_ns)
        if not (violation or excess):
            return
        asked, sent = () if raw is None else tuple(raw.tolist()), tuple(self._motion.values.tolist())
        found = (("violation", violation), ("travel", excess))
        self._reactions.report(Finding(name, why, sent, asked) for name, why in found if why)

    def _reason(self, request: Request, target: Target) -> str:
        if self._motion.blocked:
            return "blocked"
        if not self._motion.known:
            return "unknown"
        if self._reactions.ending:
            return self.state.value.lower()
        return "workspace" if target.halted else request.reason

    def _command(self, now_ns: int) -> Command | None:
        if not self.publishing:
            return None
        resting = self._reactions.ending and self._motion.at_rest
        if self._publication.tick(resting, now_ns) and self.state is State.STOPPING:
            self._reactions.go(State.DISARMED, "the robot is at rest")
        if not self._motion.known:
            return None
        self._motion.published()
        return Command(self._motion.values.copy(), now_ns, self._seq)
