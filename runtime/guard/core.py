"""The guard: from messages and time to commands that are always legal."""

from __future__ import annotations

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Command, Instruction, Verdict
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.events import EventLog, TickResult
from jetvla.runtime.guard.faults import Finding
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.motion import Motion
from jetvla.runtime.guard.preconditions import undeclared
from jetvla.runtime.guard.reactions import Reactions
from jetvla.runtime.guard.source import Request, RequestSource
from jetvla.runtime.guard.ticks import TickTimer
from jetvla.runtime.guard.watch import Watch
from jetvla.runtime.link.protocol import Health, Hello, Idle


class Guard:
    """Owns the decision what the robot is told, and when it is told nothing.

    Not thread-safe: call everything from the loop that calls :meth:`tick`. Nothing here blocks, and nothing
    that the policy sends makes it raise.

    Args:
        spec: meaning of the actions.
        timing: of the chunks, from the manifest.
        rate_hz: how often :meth:`tick` will be called.
        bundle: digest of the bundle that the policy must run.
        clock: ``FakeClock`` in tests and replays.
    """

    def __init__(
        self,
        spec: ActionSpec,
        timing: ChunkTiming,
        limits: Limits,
        rate_hz: float,
        bundle: str,
        clock: Clock,
    ) -> None:
        period_s = 1.0 / rate_hz
        self._spec, self._clock = spec, clock
        self._quiet_after_ns = seconds_to_ns(limits.rest_s)
        self._motion = Motion(spec, limits, timing.dt_s, period_s)
        self._source = RequestSource(spec, timing, limits)
        self._watch = Watch(bundle, limits)
        self._timer = TickTimer(period_s, limits)
        self._log = EventLog(clock)
        self._reactions = Reactions(self._log)
        self._publishing = False
        self._rest_ns: int | None = None
        self._seq = 0

    # What comes in

    def on_hello(self, hello: Hello) -> None:
        """A policy has connected; whatever was armed was armed for another one."""
        self.stop("another policy has connected")
        self._watch.hello(hello, self._clock.now_ns())
        self._source.forget()
        if self.state is State.BOOT:
            self._reactions.go(State.DISARMED, "a policy has connected")

    def on_chunk(self, chunk: ActionChunk) -> None:
        """A chunk has come; one before HELLO is ignored."""
        if self._watch.connected:
            now_ns = self._clock.now_ns()
            self._watch.chunk(now_ns)
            self._reactions.report(self._source.take(chunk, now_ns, following=self.state is State.ARMED))

    def on_health(self, health: Health) -> None:
        """A health report has come."""
        self._watch.health(health, self._clock.now_ns())
        self._observe()

    def on_idle(self, idle: Idle) -> None:
        """The policy sends no actions: come to rest. That it has no instruction is no fault."""
        self._watch.idle(idle, self._clock.now_ns())
        self._source.clear()
        self._observe()

    def on_link_lost(self, reason: str) -> None:
        """The policy's socket is closed."""
        self._watch.lost(reason)
        self._source.clear()
        self._observe()

    def on_instruction(self, instruction: Instruction | None) -> None:
        """The sentence in force; None withdraws it. Never arms."""
        self._source.instruction(instruction)

    def on_estop(self, pressed: bool) -> None:
        """State of the emergency stop; releasing it neither resets nor arms."""
        self._watch.set_estop(pressed)
        self._observe()

    def on_peers(self, ok: bool, reason: str = "") -> None:
        """Whether the command topic has the right subscriber and no other publisher."""
        self._watch.peers(ok, reason)
        self._observe()

    def on_feedback(self, values: Vector) -> None:
        """Measured positions float64 [D], NaN where there is no measurement."""
        self._motion.measured(values)

    def _observe(self) -> None:
        """Also between ticks, or a fault that is gone by the next tick would go unnoticed."""
        self._reactions.observe(self._watch.faults(self._clock.now_ns()))

    # What an operator asks for

    @property
    def state(self) -> State:
        return self._reactions.state

    @property
    def publishing(self) -> bool:
        """Whether ticks give commands: while armed, and after that until the robot has been at rest for a while."""
        return self._publishing

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
        reasons += [f"{name}: {why}" for name, why in self._watch.faults(self._clock.now_ns()).items()]
        return (*reasons, *undeclared(self._spec, self._motion.start))

    def arm(self) -> tuple[str, ...]:
        """Let the policy move the robot. Returns why not; empty if armed."""
        if reasons := self.refusals():
            return self._refuse("arming", reasons)
        self._source.forget()
        self._motion.settle()
        self._publishing, self._rest_ns = True, None
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
            (self._publishing, "the robot is not stopped yet"),
            (self._watch.estop, "emergency stop is pressed"),
        )
        if reasons := tuple(why for wrong, why in checks if wrong):
            return self._refuse("reset", reasons)
        self._source.forget()
        self._motion.settle()
        self._reactions.go(State.DISARMED, "reset by the operator")
        return ()

    def _refuse(self, what: str, reasons: tuple[str, ...]) -> tuple[str, ...]:
        self._log.add("refusal", f"{what} refused: {'; '.join(reasons)}", self.state)
        return reasons

    # Time

    def tick(self) -> TickResult:
        """Decide what the robot is told now."""
        now_ns = self._clock.now_ns()
        dt_s = self._elapsed(now_ns)
        self._observe()
        request, findings = self._source.request(now_ns)
        self._reactions.report(findings)
        target, clipped = self._target(request)
        self._move(target, dt_s)
        verdict = Verdict(self._reason(request), clipped)
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

    def _target(self, request: Request) -> tuple[Vector | None, tuple[str, ...]]:
        values = request.values
        if values is None or self._reactions.ending:
            return None, ()
        target, clipped, excessive = self._motion.bounds.clip(values)
        new, findings = self._source.count(request, excessive)
        if new and clipped:
            reason = f"beyond velocity or range: {', '.join(clipped)}"
            raw, sent = tuple(values.tolist()), tuple(target.tolist())
            self._log.add("clip", reason, self.state, raw=raw, sent=sent)
        self._reactions.report(findings)
        return None if self._reactions.ending else target, clipped

    def _move(self, target: Vector | None, dt_s: float) -> None:
        if violation := self._motion.advance(target, dt_s):
            sent = tuple(self._motion.values.tolist())
            self._reactions.report([Finding("violation", violation, sent)])

    def _reason(self, request: Request) -> str:
        if self._motion.blocked:
            return "blocked"
        if not self._motion.known:
            return "unknown"
        return self.state.value.lower() if self._reactions.ending else request.reason

    def _command(self, now_ns: int) -> Command | None:
        if not self._publishing:
            return None
        self._quieten(now_ns)
        if not self._motion.known:
            return None
        self._motion.published()
        return Command(self._motion.values.copy(), now_ns, self._seq)

    def _quieten(self, now_ns: int) -> None:
        """Zeros for a while after a stop, then nothing."""
        if not self._reactions.ending or not self._motion.at_rest:
            self._rest_ns = None
        elif self._rest_ns is None:
            self._rest_ns = now_ns
        elif now_ns - self._rest_ns >= self._quiet_after_ns:
            self._publishing = False
            if self.state is State.STOPPING:
                self._reactions.go(State.DISARMED, "the robot is at rest")
