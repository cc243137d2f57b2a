"""Speaks instructions to the real daemons and judges what the simulated robot did."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jetvla.calibration.simulator.judge import LIMIT_S
from jetvla.calibration.simulator.scene import Scene, sample_scene, seeds
from jetvla.calibration.simulator.task import Task
from jetvla.runtime.config import load_config
from jetvla.runtime.guard.arming import State
from jetvla.runtime.ros.session import RosSession
from jetvla.runtime.ros.spinner import Spinner
from jetvla.runtime.telemetry.status import Status, read_status
from jetvla.runtime.telemetry.stolen import stolen_s
from jetvla.services.demonstration.setting import Setting
from jetvla.services.operator import OperatorConsole
from jetvla.services.simulated_robot import SimulatedRobot
from jetvla.services.supervisor import Daemons

READY_S = 60.0
_PICTURE_EVERY_S = 0.2
_DOMAIN = 87


@dataclass(frozen=True)
class Trial:
    """One attempt: what was said, which block counted, and what came of it."""

    said: str
    target: str
    colours: tuple[str, ...]
    reached: bool
    seconds: float
    closest_m: float
    pictures: tuple[NDArray[np.uint8], ...] = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """A whole demonstration.

    Attributes:
        control: attempts whose instruction was permuted among the blocks on the table.
        trials: attempts with the right instruction.
        status: what the guard last reported.
        armings: how often ``jetvla arm`` was needed; 1 when nothing went wrong.
        int8_error: share of the action's range.
        stolen_s: processor time that the host of a virtual machine took meanwhile.
    """

    control: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    status: Status
    armings: int
    int8_error: float
    stolen_s: float

    @property
    def reached(self) -> int:
        return sum(t.reached for t in self.trials)

    @property
    def chance(self) -> float:
        """Expected successes of a robot that goes to any block on the table, whatever it is told."""
        return sum(1 / len(t.colours) for t in self.control)


class Trials:
    """The simulated robot, the running daemons, and an operator."""

    def __init__(self, setting: Setting, robot: SimulatedRobot, operator: OperatorConsole) -> None:
        self._config = load_config(setting.config)
        self._robot, self._operator = robot, operator
        self.armings = 0

    def status(self) -> Status:
        return read_status(self._config.status)

    def arm(self) -> None:
        """Arm as soon as the guard agrees; it says why not until then."""
        print(f"$ jetvla arm --wait {READY_S:g}", flush=True)
        print(self._operator.arm(READY_S, READY_S), flush=True)
        self.armings += 1

    def attempt(self, scene: Scene, said: str) -> Trial:
        """Put ``scene`` on the table, say ``said``, and watch until it is over."""
        self._operator.say("", READY_S)
        time.sleep(0.5)
        self._robot.reset(scene)
        if self.status().state != State.ARMED.value:
            self.arm()
        self._operator.say(said, READY_S)
        judge = self._robot.begin()
        pictures = [self._robot.image]
        while not judge.over:
            time.sleep(_PICTURE_EVERY_S)
            pictures.append(self._robot.image)
        trial = Trial(
            said,
            scene.task.colour,
            scene.colours,
            judge.reached,
            judge.seconds,
            judge.closest,
            tuple(pictures),
        )
        mark = "reached" if trial.reached else "missed "
        print(f"  {mark} {trial.seconds:5.1f} s  closest {trial.closest_m * 100:4.1f} cm  {said!r}", flush=True)
        return trial


def run_trials(setting: Setting, count: int) -> Outcome:
    """``count`` control attempts, then ``count`` real ones, on the same layouts that training never saw."""
    # The robot is this process; the daemons are two more. All meet on one ROS domain of their own.
    os.environ.setdefault("ROS_DOMAIN_ID", str(_DOMAIN))
    stolen_before_s = stolen_s()
    scenes = [sample_scene(seed) for seed in seeds("demo", 0, count)]
    print(f"$ jetvla run --config {setting.config}    (log: {setting.log})", flush=True)
    with (
        _simulated(scenes[0]) as robot,
        setting.log.open("wb") as log,
        Daemons(setting.config, log=log),
        OperatorConsole(load_config(setting.config)) as operator,
    ):
        trials = Trials(setting, robot, operator)
        trials.arm()
        print(f"control: each instruction names a random block of its table; {LIMIT_S:g} s each", flush=True)
        control = tuple(trials.attempt(scene, said) for scene, said in _permuted(scenes))
        chance = sum(1 / len(s.colours) for s in scenes)
        print(
            f"control: reached {sum(t.reached for t in control)} of {count}, chance is {chance:.1f}",
            flush=True,
        )
        real = tuple(trials.attempt(scene, scene.task.instruction) for scene in scenes)
        return Outcome(control, real, trials.status(), trials.armings, setting.int8_error, stolen_s() - stolen_before_s)


def _permuted(scenes: list[Scene]) -> Iterator[tuple[Scene, str]]:
    rng = np.random.default_rng(0)
    for scene in scenes:
        colour = str(rng.choice(scene.colours))
        yield scene, Task(scene.task.kind, colour, scene.task.wording).instruction


@contextmanager
def _simulated(scene: Scene) -> Iterator[SimulatedRobot]:
    """A robot whose node spins in a thread of its own until the context ends."""
    with RosSession("table_robot") as session:
        robot = SimulatedRobot(scene, session)
        with closing(Spinner(session)):
            yield robot
