"""A guard with a fake clock and a well-behaved policy, for tests and experiments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.clock import FakeClock, seconds_to_ns
from jetvla.runtime.contracts import ActionChunk, Instruction
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.axes import Vector
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.core import Guard
from jetvla.runtime.guard.events import Event, TickResult
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.link.protocol import CameraHealth, Health, Hello, Idle, IdleReason, StageTimes

BUNDLE = "ab" * 32
AGE_S = 0.05


def twist_spec() -> ActionSpec:
    """Three linear and three angular velocities in ``base_link``."""
    dimensions = [
        ActionDimension(name=n, quantity="linear", unit="m/s", semantics="velocity", frame="base_link")
        for n in ("x", "y", "z")
    ] + [
        ActionDimension(name=n, quantity="angular", unit="rad/s", semantics="velocity", frame="base_link")
        for n in ("roll", "pitch", "yaw")
    ]
    return ActionSpec(dimensions=tuple(dimensions), rotation="rotation_vector")


class GuardRig:
    """Time passes only in :meth:`step` and :meth:`run`.

    Attributes:
        results: of every tick so far.
        beating: whether :meth:`run` sends health reports, 20 per second.
    """

    def __init__(
        self,
        spec: ActionSpec | None = None,
        timing: ChunkTiming | None = None,
        limits: Limits | None = None,
        rate_hz: float = 100.0,
        needs_deadman: bool = False,
        needs_feedback: bool = False,
    ) -> None:
        self.spec = spec or twist_spec()
        self.timing = timing or ChunkTiming(horizon=1, dt_s=0.1, replan_s=0.1)
        self.limits = limits or Limits()
        self.period_s = 1.0 / rate_hz
        self.clock = FakeClock()
        inputs = (needs_deadman, needs_feedback)
        self.guard = Guard(self.spec, self.timing, self.limits, rate_hz, BUNDLE, self.clock, *inputs)
        self.instruction = Instruction.of("pick up the red block", self.clock.now_ns())
        self.results: list[TickResult] = []
        self.beating = True
        self._seq = 0

    def hello(self, bundle: str = BUNDLE, golden_passed: bool = True) -> None:
        self.guard.on_hello(Hello(bundle, "cd" * 32, golden_passed, 0.0))

    def health(self, age_s: float = 0.03, frozen: bool = False, dark: bool = False, size_changed: bool = False) -> None:
        """One camera's report."""
        now_ns = self.clock.now_ns()
        camera = CameraHealth(0, self._seq, now_ns - seconds_to_ns(age_s), frozen, dark, size_changed)
        self.guard.on_health(Health(now_ns, StageTimes(), (camera,)))

    def idle(self, reason: IdleReason = IdleReason.NO_INSTRUCTION, text: str = "") -> None:
        self.guard.on_idle(Idle(reason, text))

    def say(self, text: str) -> None:
        """A new instruction, which the policy obeys at once."""
        self.instruction = Instruction.of(text, self.clock.now_ns())
        self.guard.on_instruction(self.instruction)

    def chunk(self, action: Sequence[float] | Vector, age_s: float = AGE_S, dt_s: float | None = None) -> None:
        """A chunk: [D], repeated over the horizon, or [H, D]."""
        rows = np.atleast_2d(np.asarray(action, dtype=np.float32))
        if len(rows) == 1:
            rows = np.repeat(rows, self.timing.horizon, axis=0)
        t0_ns = self.clock.now_ns() - seconds_to_ns(age_s)
        dt_ns = seconds_to_ns(self.timing.dt_s if dt_s is None else dt_s)
        self.guard.on_chunk(ActionChunk(rows, t0_ns, dt_ns, self.instruction.id, BUNDLE, self._seq))
        self._seq += 1

    def ready(self) -> None:
        """Everything that arming needs, but for feedback."""
        self.hello()
        self.health()
        self.guard.on_peers(True)
        self.say("pick up the red block")

    def arm(self) -> None:
        """:meth:`ready`, then armed; RuntimeError with the reasons if refused."""
        self.ready()
        if reasons := self.guard.arm():
            raise RuntimeError("; ".join(reasons))

    def step(self, dt_s: float | None = None) -> TickResult:
        """Let one period pass, or ``dt_s``, then tick."""
        self.clock.advance(self.period_s if dt_s is None else dt_s)
        self.results.append(self.guard.tick())
        return self.results[-1]

    def run(self, seconds: float, action: Sequence[float] | Vector | None = None) -> list[TickResult]:
        """Tick for ``seconds``; the policy sends ``action`` every ``replan_s``, or no chunks if None."""
        replan = max(1, round(self.timing.replan_s / self.period_s))
        beat = max(1, round(0.05 / self.period_s))
        results = []
        for i in range(round(seconds / self.period_s)):
            if self.beating and i % beat == 0:
                self.health()
            if action is not None and i % replan == 0:
                self.chunk(action)
            results.append(self.step())
        return results

    @property
    def events(self) -> list[Event]:
        """All events of all ticks so far."""
        return [e for r in self.results for e in r.events]

    def faults(self) -> list[str]:
        """Names of the faults that began since it was last armed, in order."""
        events = self.events
        armed = [i for i, e in enumerate(events) if e.kind == "state" and e.state is State.ARMED]
        return [e.fault for e in events[max(armed, default=0) :] if e.kind == "fault"]

    def commands(self) -> Vector:
        """float64 [n, D]: everything published so far."""
        return np.array([r.command.values for r in self.results if r.command is not None]).reshape(-1, len(self.spec))
