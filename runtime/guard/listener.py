"""What comes in: from the policy, the robot, ROS 2 and the operator's switches."""

from __future__ import annotations

from jetvla.runtime.action_spec import ActionSpec
from jetvla.runtime.clock import Clock, seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Instruction
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.events import EventLog
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.motion import Motion
from jetvla.runtime.guard.publication import Publication
from jetvla.runtime.guard.reactions import Reactions
from jetvla.runtime.guard.senses import Senses
from jetvla.runtime.guard.source import RequestSource
from jetvla.runtime.guard.targets import Targets
from jetvla.runtime.guard.watch import Watch
from jetvla.runtime.link.protocol import Health, Hello, Idle


class Listener:
    """The half of :class:`jetvla.runtime.guard.core.Guard` that is told things. Nothing here moves the robot.

    Args:
        spec: meaning of the actions.
        timing: of the chunks, from the manifest.
        rate_hz: how often the guard will tick.
        bundle: digest of the bundle that the policy must run.
        clock: ``FakeClock`` in tests and replays.
        needs_deadman: a dead man's switch is configured, so nothing moves unless it is held.
        needs_feedback: feedback is configured, so nothing moves without it.

    Raises:
        ConfigError: the workspace does not fit the spec or the other limits.
    """

    def __init__(
        self,
        spec: ActionSpec,
        timing: ChunkTiming,
        limits: Limits,
        rate_hz: float,
        bundle: str,
        clock: Clock,
        needs_deadman: bool,
        needs_feedback: bool,
    ) -> None:
        self._spec, self._clock = spec, clock
        self._motion = Motion(spec, limits, timing.dt_s, 1.0 / rate_hz)
        self._targets = Targets(spec, limits, self._motion, 1.0 / rate_hz)
        self._source = RequestSource(spec, timing, limits)
        self._watch = Watch(bundle, limits)
        self._senses = Senses(spec, limits, self._targets.workspace, needs_deadman, needs_feedback)
        self._log = EventLog(clock)
        self._reactions = Reactions(self._log)
        self._publication = Publication(seconds_to_ns(limits.rest_s))

    # The policy

    def on_hello(self, hello: Hello) -> None:
        """A policy has connected; whatever was armed was armed for another one."""
        self._reactions.stop("another policy has connected")
        self._watch.hello(hello, self._clock.now_ns())
        self._source.forget()
        if self._reactions.state is State.BOOT:
            self._reactions.go(State.DISARMED, "a policy has connected")

    def on_chunk(self, chunk: ActionChunk) -> None:
        """A chunk has come; one before HELLO is ignored."""
        if self._watch.connected:
            now_ns = self._clock.now_ns()
            self._watch.chunk(now_ns)
            self._reactions.report(self._source.take(chunk, now_ns, following=self._reactions.state is State.ARMED))

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

    # The operator

    def on_instruction(self, instruction: Instruction | None) -> None:
        """The sentence in force; None withdraws it. Never arms."""
        self._source.instruction(instruction)

    def on_estop(self, pressed: bool) -> None:
        """State of the emergency stop; releasing it neither resets nor arms."""
        self._watch.set_estop(pressed)
        self._observe()

    def on_deadman(self, held: bool) -> None:
        """A heartbeat of the dead man's switch. Released: a controlled stop; held again: nothing, for it never arms."""
        self._senses.deadman.heard(held, self._clock.now_ns())
        self._observe()

    # The robot

    def on_peers(self, ok: bool, reason: str = "") -> None:
        """Whether the command topic has the right subscriber and no other publisher."""
        self._watch.peers(ok, reason)
        self._observe()

    def on_feedback(self, values: Vector, t_ns: int | None = None) -> None:
        """Positions float64 [D] measured at ``t_ns`` (None: now), NaN where there is no measurement."""
        now_ns = self._clock.now_ns()
        self._senses.feedback.take(values, now_ns if t_ns is None else t_ns, now_ns)

    def on_pose(self, position: Vector, t_ns: int) -> None:
        """Position float64 [3] of the tool in the workspace's frame, in metres, measured at ``t_ns``."""
        self._senses.pose(position, t_ns, self._clock.now_ns())

    def _observe(self) -> None:
        """Also between ticks, or a fault that is gone by the next tick would go unnoticed."""
        self._reactions.observe(self._found(self._clock.now_ns()))

    def _found(self, now_ns: int) -> dict[str, str]:
        """Faults that are there now, with their reasons."""
        command = self._motion.values if self._publication.on else None
        return {**self._watch.faults(now_ns), **self._senses.faults(command, now_ns)}
