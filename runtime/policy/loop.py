"""The policy's loop: observe, act, send, notify."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jetvla.runtime.clock import NS_PER_S, Clock, seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Frame, Instruction, Observation
from jetvla.runtime.link.protocol import ChunkMessage, Health, Idle, IdleReason, StageTimes
from jetvla.runtime.policy.actor import Acted
from jetvla.runtime.policy.heartbeat import Sender
from jetvla.runtime.policy.sight import Blind, Sight
from jetvla.runtime.policy.state import Numb, Proprioception

# The longest wait for a frame; also the longest time without a word on the link while there is none.
WAIT_S = 0.1
# How long cameras may be blind before the policy says so, which makes the guard drop the actions it still has.
PATIENCE_S = 0.2


class Acts(Protocol):
    """What answers an observation; :class:`~jetvla.runtime.policy.actor.Actor` does."""

    def act(self, observation: Observation) -> Acted: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the loop, for those who watch it.

    Attributes:
        chunk: what was sent; None if there was nothing to answer.
        idle: why there are no chunks; None when there are, or when the next frame is only a little late.
        stages: of the newest step.
        started_ns: when the turn's observation was there.
        sent_ns: when its last message was handed to the link.
    """

    chunk: ActionChunk | None
    idle: Idle | None
    stages: StageTimes
    started_ns: int
    sent_ns: int


class PolicyLoop:
    """Answers each new frame with a chunk, at most ``rate_hz`` times a second.

    Every turn sends a CHUNK, or an IDLE if there is reason to, and always HEALTH. Chunks are sent as the engine gave
    them, NaN included, because the guard alone judges; ``counts`` has how many were not finite.

    Args:
        sight: the cameras.
        instruction: gives the sentence that holds now.
        actor: answers observations.
        sender: takes the messages.
        rate_hz: None answers every frame of the first camera.
        patience_s: time without a frame before IDLE is sent.
        joints: knows the state; None for a policy that takes none.
        observers: called after every turn.
    """

    def __init__(
        self,
        sight: Sight,
        instruction: Callable[[], Instruction | None],
        actor: Acts,
        sender: Sender,
        clock: Clock,
        rate_hz: float | None = None,
        patience_s: float = PATIENCE_S,
        observers: Iterable[Callable[[Turn], None]] = (),
        joints: Proprioception | None = None,
    ) -> None:
        self._sight, self._instruction, self._actor, self._sender = sight, instruction, actor, sender
        self._clock, self._joints = clock, joints
        self.pace(rate_hz)
        self._observers = tuple(observers)
        self._patience_ns = seconds_to_ns(patience_s)
        self._next_ns = clock.now_ns()
        self._blind_since_ns = self._next_ns - self._patience_ns
        self._stages, self._sent_ns = StageTimes(), 0
        self.counts: Counter[str] = Counter()

    def pace(self, rate_hz: float | None) -> None:
        """Take at most ``rate_hz`` steps a second from now on; None answers every frame."""
        self._period_ns = 0 if rate_hz is None else round(NS_PER_S / rate_hz)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Turn until ``stopped``.

        Raises:
            EngineError: if a step failed.
            LinkError: if the guard is gone.
        """
        # A word before the first step, which may be the longest of all.
        self._send_health()
        while not stopped():
            self.turn()

    def turn(self) -> None:
        """Observe, act, send, notify."""
        observed = self._observe()
        started_ns = self._clock.now_ns()
        chunk = self._act(observed) if isinstance(observed, Observation) else None
        idle = observed if isinstance(observed, Idle) else None
        if idle is not None:
            self._sender.send(idle)
        self._send_health()
        turn = Turn(chunk, idle, self._stages, started_ns, self._clock.now_ns())
        for observer in self._observers:
            observer(turn)

    def _send_health(self) -> None:
        self._sender.send(Health(self._sent_ns, self._stages, self._sight.health()))

    def _observe(self) -> Observation | Idle | None:
        self._clock.sleep_until_ns(self._next_ns)
        frames, blind = self._look()
        instruction = self._instruction()
        state, numb = self._feel()
        if blind and self._clock.now_ns() - self._blind_since_ns >= self._patience_ns:
            return Idle(IdleReason.NO_CAMERA, blind)
        if numb:
            return Idle(IdleReason.NO_STATE, numb)
        if instruction is None:
            return Idle(IdleReason.NO_INSTRUCTION)
        return Observation(frames, state, instruction) if frames else None

    def _look(self) -> tuple[tuple[Frame, ...], str]:
        """Frames; or none, and why."""
        try:
            frames = self._sight.look(WAIT_S)
        except Blind as blind:
            self.counts["blind"] += 1
            return (), str(blind)
        self._blind_since_ns = self._clock.now_ns()
        return frames, ""

    def _feel(self) -> tuple[NDArray[np.float32] | None, str]:
        """The state, None for a policy without; or why it is not known. It is younger than the frames."""
        if self._joints is None:
            return None, ""
        try:
            return self._joints.feel(), ""
        except Numb as numb:
            self.counts["numb"] += 1
            return None, str(numb)

    def _act(self, observation: Observation) -> ActionChunk:
        # Late by more than a period, the schedule starts anew: no burst to catch up.
        self._next_ns = max(self._next_ns, self._clock.now_ns() - self._period_ns) + self._period_ns
        chunk, self._stages = self._actor.act(observation)
        self._sender.send(ChunkMessage.of(chunk))
        # The time of a step is no time without a frame.
        self._sent_ns = self._blind_since_ns = self._clock.now_ns()
        self.counts["chunks"] += 1
        self.counts["not finite"] += not np.isfinite(chunk.actions).all()
        return chunk
