"""Runs guard and policy as two processes in the foreground, and stops the robot before anything else.

A third one may serve metrics beside them; it is no part of the robot.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jetvla.runtime.clock import MonotonicClock
from jetvla.runtime.config import load_config
from jetvla.runtime.errors import JetvlaError
from jetvla.runtime.limits_config import MAX_STOP_S
from jetvla.services.companion import Companion
from jetvla.services.instance import refuse_second
from jetvla.services.program import program
from jetvla.services.termination import asked_to_end

GUARD = "guard"
POLICY = "policy"
METRICS = "metrics"
PROFILED_GUARD = "profiled guard"
PROFILED_POLICY = "profiled policy"
_MODULES = {
    GUARD: "jetvla.services.guard_daemon",
    POLICY: "jetvla.services.policy_daemon",
    METRICS: "jetvla.services.metrics_daemon",
    PROFILED_GUARD: "jetvla.services.profiling.guard",
    PROFILED_POLICY: "jetvla.services.profiling.policy",
}
# numpy's threads for large products: neither daemon has any, and each costs memory.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.1
_STOP_TIMEOUT_S = 2 * MAX_STOP_S


def _end_with_parent() -> None:
    """In the child: get SIGTERM, and so a controlled stop, if the supervisor is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _start(name: str, config: Path, log: IO[bytes] | int | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*program(_MODULES[name]), "--config", str(config)],
        stderr=log,
        env=os.environ | ENVIRONMENT,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )


class Daemons:
    """Processes of one configuration, in the order of ``names``.

    Each is its own session, so that a Ctrl-C in the terminal reaches the supervisor alone and the guard is not
    cut short.

    Args:
        config: their configuration file.
        names: which of them to start.
        log: takes their messages; None leaves them on this process's standard error.
    """

    def __init__(self, config: Path, names: Sequence[str] = (GUARD, POLICY), log: IO[bytes] | None = None) -> None:
        self._config, self._names, self._log = config, names, log
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start them in order."""
        for name in self._names:
            self.processes[name] = _start(name, self._config, self._log)

    def dead(self) -> str | None:
        """Name of a process that has ended, if one has."""
        return next((n for n, p in self.processes.items() if p.poll() is not None), None)

    def stop(self) -> None:
        """End the guard first, which brings the robot to rest, and the policy after it."""
        for process in self.processes.values():
            if process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Daemons:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def _metrics(config: Path) -> Iterator[Callable[[], None]]:
    """What keeps the metrics' process running meanwhile, if there is to be one; to be called often."""
    if load_config(config).telemetry.metrics is None:
        yield lambda: None
        return

    def start(silent: bool) -> subprocess.Popen[bytes]:
        return _start(METRICS, config, subprocess.DEVNULL if silent else None)

    companion = Companion(METRICS, start, MonotonicClock())
    try:
        yield companion.poll
    finally:
        companion.stop()


def supervise(config: Path, until: Callable[[], bool] = lambda: False) -> None:
    """Run both daemons, and the metrics, until SIGINT, SIGTERM, SIGHUP or ``until()``; then stop the robot.

    Raises:
        ConfigError: if the configuration is wrong, or a daemon of its ``run_dir`` is running already.
        JetvlaError: if a daemon ends by itself; the other has then been stopped.
    """
    refuse_second(load_config(config))
    with asked_to_end() as asked, _metrics(config) as keep_metrics, Daemons(config) as daemons:
        while not until():
            keep_metrics()
            if (name := daemons.dead()) is not None:
                status = daemons.processes[name].returncode
                raise JetvlaError(f"the {name} process ended with status {status}; its last lines say why")
            if asked.wait(_LOOK_EVERY_S):
                return
