"""The real daemons on real ROS 2, with a bench around them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml
from numpy.typing import NDArray

from jetvla.runtime.config import load_config
from jetvla.runtime.errors import ArmingError, JetvlaError
from jetvla.runtime.telemetry.status import Status, read_status
from jetvla.services.cli import main as jetvla
from jetvla.services.operator import OperatorConsole
from jetvla.services.supervisor import GUARD, POLICY, Daemons

from .bench import Bench, Sent
from .judge import Commands
from .settings import Settings

READY_S = 60.0
ANSWER_S = 2.0
FULL_SPEED = 0.24
STARTING_S = 3.0
# Longer than between two chunks, so that the robot is at full speed whenever a fault begins.
STEADY_S = 0.2
QUIET_NS = 100_000_000


def within(seconds: float, condition: Callable[[], Any], what: str) -> None:
    """Wait until ``condition()``; fail naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


class Rig:
    """Daemons of one configuration, a :class:`Bench` around them, and an operator.

    Args:
        names: which daemons.
        camera_hz: of the camera on ROS 2; None for none.
    """

    newest: ClassVar[Rig | None] = None

    def __init__(
        self,
        folder: Path,
        resources: ExitStack,
        settings: Settings,
        names: tuple[str, ...] = (GUARD, POLICY),
        camera_hz: float | None = None,
    ) -> None:
        from jetvla.runtime.ros.session import RosSession
        from jetvla.runtime.ros.spinner import Spinner

        Rig.newest = self
        self.path = folder / "jetvla.yaml"
        self.path.write_text(yaml.safe_dump(settings))
        self.config = load_config(self.path)
        session = resources.enter_context(RosSession("driver"))
        self.bench = Bench(session.node, camera_hz)
        self.spinner = resources.enter_context(closing(Spinner(session)))
        self.node = session.node
        self._log = resources.enter_context((folder / "daemons.log").open("a+b"))
        self._names = names
        self.daemons = Daemons(self.path, names, self._log)
        resources.callback(lambda: self.daemons.stop())
        self.daemons.start()
        self.operator = resources.enter_context(OperatorConsole(self.config))
        self._offset = 0
        within(READY_S, self.config.status.exists, "the guard reports")

    # What can be seen

    @property
    def sent(self) -> list[Sent]:
        """What the driver got."""
        return self.bench.sent

    @property
    def log(self) -> str:
        """What the daemons said on their standard error."""
        return Path(self._log.name).read_text()

    @property
    def state(self) -> str:
        """Of the guard, as it says on ROS 2."""
        return self.bench.state

    def status(self) -> Status:
        return read_status(self.config.status)

    def commands(self) -> Commands:
        """Every command that the guard has published since :meth:`mark`, none lost on the way."""
        return Commands.read(self._commands, self._offset)

    def published(self) -> NDArray[np.float64]:
        """Their speeds [N] in m/s."""
        return self.commands().speeds

    @property
    def _commands(self) -> Path:
        return self.path.parent / "commands.jsonl"

    def audited(self, since_ns: int = 0) -> list[Mapping[str, Any]]:
        """The audit log's entries of ``since_ns`` and later."""
        assert self.config.telemetry.audit is not None
        files = sorted(self.config.telemetry.audit.glob("audit-*.jsonl"))
        entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [entry for entry in entries if entry["t_ns"] >= since_ns]

    def audit_is_whole(self) -> bool:
        """What ``jetvla audit verify`` says."""
        return jetvla(["audit", "verify", str(self.config.telemetry.audit)]) == 0

    def settled(self, state: str) -> bool:
        """The guard is in ``state`` and publishes no more."""
        return self.state == state and self._quiet()

    def _quiet(self) -> bool:
        return time.time_ns() - self._commands.stat().st_mtime_ns > QUIET_NS

    # What can be done

    def mark(self) -> None:
        """Forget all commands up to now."""
        self._offset = self._commands.stat().st_size if self._commands.exists() else 0
        self.sent.clear()

    def arm(self) -> None:
        """Arm as soon as the guard agrees; what was asked of one that has just been killed is never answered."""
        deadline = time.monotonic() + READY_S
        while True:
            try:
                self.operator.call("arm", ANSWER_S)
                return
            except JetvlaError:
                if self.state == "ARMED":
                    return
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def refusal(self) -> str:
        """Why the guard does not arm; empty, and it is armed, if it does."""
        try:
            self.operator.call("arm", READY_S)
        except ArmingError as error:
            return str(error)
        return ""

    def move(self) -> None:
        """Repair whatever the row before has broken, arm, and wait until the robot is at full speed."""
        self.repair()
        self.mark()
        within(READY_S, self._moves, "the robot moves at full speed")

    def _moves(self) -> bool:
        """Arm, and see whether the robot gets to full speed and stays there: a busy machine may stop it before."""
        self.arm()
        deadline = time.monotonic() + STARTING_S
        while time.monotonic() < deadline:
            if self._fast():
                time.sleep(STEADY_S)
                return self._fast() and self.state == "ARMED"
            time.sleep(0.01)
        return False

    def _fast(self) -> bool:
        return bool(self.sent) and self.sent[-1].speed > FULL_SPEED

    def repair(self) -> None:
        """Start what has died, switch on what is off, and reset the guard if it is latched."""
        for name, process in self.daemons.processes.items():
            if process.poll() is not None:
                self._restart(name)
        self.bench.press(False)
        self.bench.holding = True
        if self.bench.camera is not None:
            self.bench.camera.set("live")
        if self.state == "LATCHED":
            within(READY_S, self._reset, "reset")

    def _restart(self, name: str) -> None:
        if name == GUARD:
            # What the dead one said last.
            self.bench.state = "unknown"
        again = Daemons(self.path, (name,), self._log)
        again.start()
        # In its old place, for the order in which they are stopped.
        self.daemons.processes[name] = again.processes[name]

    def _reset(self) -> bool:
        try:
            self.operator.call("reset", READY_S)
        except ArmingError:
            return False
        return True

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to a daemon; when, in monotonic nanoseconds."""
        t_ns = time.monotonic_ns()
        os.kill(self.daemons.processes[name].pid, number)
        return t_ns
