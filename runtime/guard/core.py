"""The guard: from messages and time to commands that are always legal."""

from __future__ import annotations

from dataclasses import dataclass

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Command, Instruction, Verdict
from jetvla.runtime.guard.arming import Arming, State
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.events import Event, EventKind
from jetvla.runtime.guard.faults import FAULTS, Reaction
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.motion import Motion
from jetvla.runtime.guard.preconditions import undeclared
from jetvla.runtime.guard.source import Finding, Request, RequestSource
from jetvla.runtime.guard.ticks import TickTimer
from jetvla.runtime.guard.watch import Watch
from jetvla.runtime.link.protocol import Health, Hello, Idle

ENDING = (State.STOPPING, State.LATCHED)


@dataclass(frozen=True, slots=True, eq=False)
class TickResult:
    """One tick.

    Attributes:
        command: what to publish; None means publish nothing.
        verdict: its reason is ``policy``; ``idle``, ``waiting``, ``expired``, ``stale`` (to rest: no
        instruction, no
            chunk yet, time to live over, chunk too old); ``stopping``, ``latched``, ``blocked`` (by the
            checker) or ``unknown`` (nothing to publish before the position of every absolute dimension is
            known).
        events: everything since the last tick, oldest first.
        shaped: float64 [D], the shaped command, published or not; NaN where a position is not known.
    """

    state: State
    command: Command | None
    verdict: Verdict
    events: tuple[Event, ...]
    shaped: Vector


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
        self, spec: ActionSpec, timing: ChunkTiming, limits: Limits, rate_hz: float, bundle: str, clock: Clock
    ) -> None:
        period_s = 1.0 / rate_hz
        self._spec, self._clock = spec, clock
        self._rest_limit_ns = seconds_to_ns(limits.rest_s)
        self._motion = Motion(spec, limits, timing.dt_s, period_s)
        self._source = RequestSource(spec, timing, limits)
        self._watch = Watch(bundle, limits)
        self._timer = TickTimer(period_s, limits)
        self._arming = Arming()
        self._events: list[Event] = []
        self._active: dict[str, str] = {}
        self._publishing = False
        self._latched_by = ""
        self._rest_ns: int | None = None
        self._seq = 0

    # What comes in

    def on_hello(self, hello: Hello) -> None:
        """A policy has connected."""
        self._watch.hello(hello, self._clock.now_ns())
        self._source.forget()
        if self.state is State.BOOT:
            self._go(State.DISARMED, "a policy has connected")

    def on_chunk(self, chunk: ActionChunk) -> None:
        """A chunk has come; one before HELLO is ignored."""
        if not self._watch.connected:
            return
        now_ns = self._clock.now_ns()
        self._watch.chunk(now_ns)
        self._report(self._source.take(chunk, now_ns))

    def on_health(self, health: Health) -> None:
        """A health report has come."""
        self._watch.health(health, self._clock.now_ns())

    def on_idle(self, idle: Idle) -> None:
        """The policy has nothing to do, or cannot do it: come to rest, stay armed if there is only no
        instruction.
        """
        self._watch.idle(idle, self._clock.now_ns())
        self._source.clear()

    def on_link_lost(self, reason: str) -> None:
        """The policy's socket is closed."""
        self._watch.lost(reason)
        self._source.clear()

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

    def on_feedback(self, values: Vector) -> None:
        """Measured positions float64 [D], NaN where there is no measurement."""
        self._motion.measured(values)

    # What an operator asks for

    @property
    def state(self) -> State:
        return self._arming.state

    @property
    def publishing(self) -> bool:
        """Whether ticks give commands: while armed, and after that until the robot has been at rest for a while."""
        return self._publishing

    @property
    def latched_by(self) -> str:
        """Why it is latched; empty when it is not."""
        return self._latched_by

    @property
    def faults(self) -> dict[str, str]:
        """Faults that are there now, as of the last tick, with their reasons."""
        return dict(self._active)

    def refusals(self) -> tuple[str, ...]:
        """Every reason why arming would be refused now; empty if it would be granted."""
        reasons = []
        if self.state is State.LATCHED:
            reasons.append(f"latched, reset first: {self._latched_by}")
        elif self.state is not State.DISARMED:
            reasons.append(f"state is {self.state.value}")
        reasons += [f"{name}: {reason}" for name, reason in self._watch.faults(self._clock.now_ns()).items()]
        return tuple(reasons) + undeclared(self._spec, self._motion.start)

    def arm(self) -> tuple[str, ...]:
        """Let the policy move the robot. Returns why not; empty if armed."""
        if reasons := self.refusals():
            self._event("refusal", f"arming refused: {'; '.join(reasons)}")
            return reasons
        self._source.forget()
        self._motion.settle()
        self._publishing, self._rest_ns = True, None
        self._go(State.ARMED, "armed by the operator")
        return ()

    def disarm(self) -> None:
        """Controlled stop, then disarmed."""
        self.stop("disarmed by the operator")

    def stop(self, reason: str) -> None:
        """Controlled stop for ``reason``; nothing to do unless armed."""
        if self.state is State.ARMED:
            self._go(State.STOPPING, reason)

    def reset(self) -> tuple[str, ...]:
        """Leave LATCHED. Returns why not; empty if it is now disarmed."""
        reasons = []
        if self.state is not State.LATCHED:
            reasons.append(f"state is {self.state.value}, not LATCHED")
        if self._publishing:
            reasons.append("the robot is not stopped yet")
        if self._watch.estop:
            reasons.append("emergency stop is pressed")
        if reasons:
            self._event("refusal", f"reset refused: {'; '.join(reasons)}")
            return tuple(reasons)
        self._latched_by = ""
        self._source.forget()
        self._motion.settle()
        self._go(State.DISARMED, "reset by the operator")
        return ()

    # Time

    def tick(self) -> TickResult:
        """Decide what the robot is told now."""
        now_ns = self._clock.now_ns()
        dt_s, finding = self._timer.tick(now_ns)
        self._report([finding] if finding else [])
        self._observe()
        request, findings = self._source.request(now_ns)
        self._report(findings)
        verdict = self._move(request, dt_s)
        command = self._command(now_ns)
        self._seq += 1
        events, self._events = tuple(self._events), []
        return TickResult(self.state, command, verdict, events, self._motion.values)

    def _observe(self) -> None:
        found = self._watch.faults(self._clock.now_ns())
        for name in [n for n in self._active if n not in found]:
            self._event("cleared", f"no longer: {self._active[name]}", name)
        for name, reason in found.items():
            if name not in self._active:
                self._event("fault", reason, name)
            self._react(name, reason)
        self._active = found

    def _report(self, findings: list[Finding]) -> None:
        for finding in findings:
            if finding.fault:
                self._event("fault", finding.reason, finding.fault)
                self._react(finding.fault, finding.reason)
            else:
                self._event("reject", finding.reason)

    def _react(self, fault: str, reason: str) -> None:
        reaction = FAULTS[fault].reaction
        if fault == "broken_clock":
            self._motion.blocked = True
        if reaction is Reaction.LATCH and self.state is not State.LATCHED:
            self._latched_by = f"{fault}: {reason}"
            self._go(State.LATCHED, self._latched_by)
        elif reaction is Reaction.STOP:
            self.stop(f"{fault}: {reason}")

    def _move(self, request: Request, dt_s: float) -> Verdict:
        target: Vector | None = None
        clipped: tuple[str, ...] = ()
        if self.state not in ENDING and request.values is not None:
            target, clipped = self._bounded(request, request.values)
        # Looked at again: the request may have used up the violation budget.
        if self.state in ENDING:
            target = None
        if violation := self._motion.advance(target, dt_s):
            sent = tuple(self._motion.values.tolist())
            self._event("fault", violation, "violation", sent=sent)
            self._react("violation", violation)
        return Verdict(self._reason(request), clipped)

    def _bounded(self, request: Request, values: Vector) -> tuple[Vector, tuple[str, ...]]:
        target, clipped, excessive = self._motion.bounds.clip(values)
        new, findings = self._source.count(request, excessive)
        if new and clipped:
            raw, sent = tuple(values.tolist()), tuple(target.tolist())
            self._event("clip", f"beyond velocity or range: {', '.join(clipped)}", raw=raw, sent=sent)
        self._report(findings)
        return target, clipped

    def _reason(self, request: Request) -> str:
        if self._motion.blocked:
            return "blocked"
        if not self._motion.known:
            return "unknown"
        return self.state.value.lower() if self.state in ENDING else request.reason

    def _command(self, now_ns: int) -> Command | None:
        if not self._publishing:
            return None
        command = None
        if self._motion.known:
            command = Command(self._motion.values.copy(), now_ns, self._seq)
            self._motion.published()
        self._quieten(now_ns)
        return command

    def _quieten(self, now_ns: int) -> None:
        """Zeros for a while after a stop, then nothing."""
        if self.state not in ENDING or not self._motion.at_rest:
            self._rest_ns = None
        elif self._rest_ns is None:
            self._rest_ns = now_ns
        elif now_ns - self._rest_ns >= self._rest_limit_ns:
            self._publishing = False
            if self.state is State.STOPPING:
                self._go(State.DISARMED, "the robot is at rest")
                self._motion.settle()

    # Records

    def _go(self, state: State, reason: str) -> None:
        self._arming.go(state)
        self._event("state", reason)

    def _event(
        self,
        kind: EventKind,
        reason: str,
        fault: str = "",
        raw: tuple[float, ...] = (),
        sent: tuple[float, ...] = (),
    ) -> None:
        self._events.append(Event(self._clock.now_ns(), kind, reason, self.state, fault, raw, sent))
