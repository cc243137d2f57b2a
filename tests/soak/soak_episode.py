"""One random life of a guard: a hostile policy, an unsteady clock, an operator who presses everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from soak_judge import Group, Tape
from soak_policies import POLICIES, Policy, pushing

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.guard.arming import State
from jetvla.runtime.guard.box import Box
from jetvla.runtime.guard.chunk import ChunkTiming
from jetvla.runtime.guard.limits import Limits
from jetvla.runtime.guard.rig import GuardRig
from jetvla.runtime.link.protocol import IdleReason

Array = NDArray[np.float64]
REST_S = 0.3
BOX_M = 0.2


def _dimensions(names: str, quantity: str, unit: str, semantics: str, **more: object) -> list[ActionDimension]:
    row = {"quantity": quantity, "unit": unit, "semantics": semantics, **more}
    return [ActionDimension.model_validate({"name": name, **row}) for name in names.split()]


LINEAR = Group((0, 1, 2), False, 0.25, 0.5, 1.0, 10.0)
ANGULAR = Group((3, 4, 5), False, 0.5, 1.0, 2.0, 20.0)
GRIPPER = Group((6,), True, 1.0, 4.0, 4.0, 80.0, 0.0, 1.0)
XYZ = _dimensions("x y z", "linear", "m/s", "velocity", frame="base")
RPY = _dimensions("roll pitch yaw", "angular", "rad/s", "velocity", frame="base")
HAND = _dimensions("hand", "gripper", "1", "absolute")
STEPS = _dimensions("x y z", "linear", "m", "delta", frame="base")
TURNS = _dimensions("roll pitch yaw", "angular", "rad", "delta", frame="base")
JOINTS = _dimensions(" ".join(f"j{i}" for i in range(26)), "joint", "rad", "absolute", range=(-1.0, 1.0))
TOOL = _dimensions("x y z", "linear", "m", "absolute", frame="base")


@dataclass(frozen=True)
class Setup:
    """What an episode is about.

    Attributes:
        size: of a policy's 1, per dimension.
        fed: whether the robot reports its positions.
        boxed: whether it has a workspace.
    """

    spec: ActionSpec
    timings: tuple[ChunkTiming, ...]
    groups: tuple[Group, ...]
    size: float
    fed: bool = False
    boxed: bool = False


def _timings(dt_s: float, horizon: int, replan_s: float) -> tuple[ChunkTiming, ...]:
    one = ChunkTiming(1, 0.1, 0.1)
    many = [ChunkTiming(horizon, dt_s, replan_s, e) for e in ("latest", "temporal_ensemble", "blend")]
    return (one, *many)


def _spec(*dimensions: ActionDimension, rotation: str | None = None) -> ActionSpec:
    return ActionSpec.model_validate({"dimensions": dimensions, "rotation": rotation})


SETUPS = {
    "twist": Setup(
        _spec(*XYZ, *RPY, rotation="rotation_vector"), _timings(0.05, 8, 0.2), (LINEAR, ANGULAR), 0.25
    ),
    "twist and gripper": Setup(
        _spec(*XYZ, *RPY, *HAND, rotation="rotation_vector"), _timings(0.05, 8, 0.2), (LINEAR, ANGULAR, GRIPPER), 0.3
    ),
    "deltas": Setup(
        _spec(*STEPS, *TURNS, *HAND, rotation="roll_pitch_yaw"), _timings(0.1, 5, 0.2), (LINEAR, ANGULAR, GRIPPER), 0.03
    ),
    "26 joints": Setup(
        _spec(*JOINTS),
        _timings(1 / 30, 20, 1 / 3),
        tuple(Group((i,), True, 0.5, 1.0, 2.0, 20.0, -1.0, 1.0) for i in range(26)),
        0.7,
        fed=True,
    ),
    "twist in a box": Setup(
        _spec(*XYZ, *RPY, rotation="rotation_vector"), _timings(0.05, 8, 0.2), (LINEAR, ANGULAR), 0.25, boxed=True
    ),
    "tool position in a box": Setup(
        _spec(*TOOL), _timings(0.05, 20, 0.2), (Group((0, 1, 2), True, 0.25, 0.5, 1.0, 10.0),), 0.3, True, True
    ),
}  # fmt: skip


class Episode:
    """Plays ``ticks`` ticks.

    Attributes:
        tape: what was published, for the judge.
        faults: how often the guard found what.
        moving: ticks that published something else than rest.
    """

    def __init__(self, name: str, rng: np.random.Generator) -> None:
        setup = SETUPS[name]
        self._setup, self._rng = setup, rng
        self._timing = setup.timings[rng.integers(len(setup.timings))]
        rate_hz = float(rng.choice([50.0, 100.0, 250.0]))
        deadman = rng.random() < 0.3
        self._rig = GuardRig(setup.spec, self._timing, _limits(setup, rate_hz, rng), rate_hz, deadman, setup.fed)
        self._policy = _policy(setup, rng)
        self.tape = Tape(1 / rate_hz, setup.groups, REST_S, box=BOX_M if setup.boxed else None)
        self._robot = np.zeros(len(setup.spec))
        self._speed = np.zeros(len(setup.spec))
        self._past = [(self._rig.clock.now_ns(), self._robot)]
        self._stuck = False
        self._held = True
        self._chunks = 0
        self._due = {"chunk": 0, "health": 0, "sense": 0}
        self._clock_kind = int(rng.integers(3))
        self.faults: Counter[str] = Counter()
        self.moving = 0
        self._rig.ready()

    def play(self, ticks: int) -> None:
        for _ in range(ticks):
            self._happen()
            self.go_on()

    def go_on(self) -> None:
        """One tick in which nobody does anything special."""
        self._report()
        self._tick()

    def _happen(self) -> None:
        """Rarely something goes wrong; when the robot is not armed, the operator tries again."""
        rig, rng = self._rig, self._rng
        if rig.guard.state is not State.ARMED and rng.random() < 0.05:
            self._rearm()
        if rng.random() < 0.003:
            name = str(rng.choice(list(_STOPS)))
            _STOPS[name](self)
            self.tape.stopped.append(len(self.tape.t_ns))
        if rng.random() < 0.003:
            _DISTURBANCES[rng.integers(len(_DISTURBANCES))](self)

    def _rearm(self) -> None:
        rig = self._rig
        self._held, self._stuck = True, False
        rig.guard.on_estop(False)
        rig.guard.reset()
        rig.guard.on_peers(True)
        rig.hello()
        rig.health()
        rig.say(f"words {self._rng.integers(3)}")
        self._sense()
        if rig.guard.arm() == ():
            fed = self._robot if self._setup.fed else np.full(len(self._robot), np.nan)
            self.tape.armed[len(self.tape.t_ns)] = fed.copy()

    def _report(self) -> None:
        now = len(self.tape.t_ns)
        for name, every_s, act in (
            ("health", 0.1, self._rig.health),
            ("chunk", self._timing.replan_s, self._chunk),
            ("sense", 0.02, self._sense),
        ):
            if now >= self._due[name]:
                self._due[name] = now + max(1, round(every_s / self.tape.period_s * self._rng.uniform(0.5, 1.2)))
                act()

    def _chunk(self) -> None:
        rows = self._policy(self._chunks, self._timing.horizon, len(self._setup.spec))
        self._chunks += 1
        with np.errstate(over="ignore"):
            self._rig.chunk((rows * self._setup.size).astype(np.float32), age_s=self._rng.uniform(0.0, 0.06))

    def _sense(self) -> None:
        """Feedback of now, and a pose some ticks old; the switch."""
        guard, now_ns = self._rig.guard, self._rig.clock.now_ns()
        if self._setup.fed:
            guard.on_feedback(self._robot.copy(), now_ns)
        if self._setup.boxed:
            t_ns, robot = self._past[-int(self._rng.integers(1, min(4, len(self._past)) + 1))]
            guard.on_pose(robot[:3], t_ns)
        if self._held:
            guard.on_deadman(True)

    def _tick(self) -> None:
        dt_s = self._time_step()
        self._robot = self._robot + self._speed * round(dt_s * 1e9) / 1e9
        result = self._rig.step(dt_s)
        self._rig.results.clear()
        values = None if result.command is None else result.command.values
        self.tape.t_ns.append(self._rig.clock.now_ns())
        self.tape.values.append(values)
        self._obey(values)
        self._past = [*self._past[-5:], (self.tape.t_ns[-1], self._robot)]
        self.faults.update(e.fault for e in result.events if e.kind == "fault")

    def _obey(self, values: Array | None) -> None:
        """The robot does what it is told, or is stuck."""
        position = np.array([d.semantics == "absolute" for d in self._setup.spec.dimensions])
        self._speed = np.zeros(len(position)) if values is None else np.where(position, 0.0, values)
        if values is not None:
            before = self._robot
            self._robot = np.where(position & (not self._stuck), values, before)
            self.moving += bool(self._speed.any() or (before != self._robot).any())

    def _time_step(self) -> float:
        """Steady, jittering, or anything from a twentieth of a period to three."""
        period, rng = self.tape.period_s, self._rng
        # A robot without a time-out of its own runs on in a stall: a box cannot hold it.
        if rng.random() < 0.0005 and not self._setup.boxed:
            return float(rng.uniform(3.1, 40)) * period
        if self._clock_kind == 0:
            return period
        if self._clock_kind == 1:
            return period * float(rng.uniform(0.7, 1.3))
        return period * min(2.99, 10 ** float(rng.uniform(-1.3, 0.48)))

    # What stops the robot for good

    def press(self) -> None:
        self._rig.guard.on_estop(True)

    def disarm(self) -> None:
        self._rig.guard.disarm()

    def cut(self) -> None:
        self._rig.guard.on_link_lost("gone")

    def crowd(self) -> None:
        self._rig.guard.on_peers(False, "another publisher")

    def blind(self) -> None:
        self._rig.health(frozen=True)

    # What may or may not

    def let_go(self) -> None:
        self._held = False

    def block(self) -> None:
        self._stuck = True

    def speak(self) -> None:
        self._rig.say(f"words {self._rng.integers(3)}")

    def hush(self) -> None:
        self._rig.guard.on_instruction(None)

    def idle(self) -> None:
        self._rig.idle(IdleReason.NO_INSTRUCTION)

    def dither(self) -> None:
        self._policy = _policy(self._setup, self._rng)


_STOPS: dict[str, Callable[[Episode], None]] = {
    f.__name__: f for f in (Episode.press, Episode.disarm, Episode.cut, Episode.crowd, Episode.blind)
}
_DISTURBANCES = (Episode.let_go, Episode.block, Episode.speak, Episode.hush, Episode.idle, Episode.dither)


def _policy(setup: Setup, rng: np.random.Generator) -> Policy:
    """In a box, mostly the one that is made for its faces."""
    return (pushing if setup.boxed and rng.random() < 0.6 else POLICIES[rng.integers(len(POLICIES))])(rng)


def _limits(setup: Setup, rate_hz: float, rng: np.random.Generator) -> Limits:
    """The defaults, mostly without the faults that would end a hostile policy's life before it has moved."""
    own: dict[str, object] = {"rest_s": REST_S}
    if setup.boxed:
        # The thinnest margin that these limits allow, or up to twice as much.
        margin = (0.0045 + 1.6 / rate_hz) * rng.uniform(1.0, 2.0)
        own["workspace"] = Box("base", (-BOX_M,) * 3, (BOX_M,) * 3, margin=margin)
    if rng.random() < 0.8:
        own |= {"seam_m": 1e9, "seam_rad": 1e9, "seam_ratio": 1e9, "excess_count": 10**6, "excess_window": 10**6}
    return Limits.from_overrides(own)
