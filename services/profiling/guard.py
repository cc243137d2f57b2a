"""The guard daemon with an operator of its own: arms as soon as it may, and again after every stop.

Nothing moves, so a joint is taken to stand in the middle of its range whenever the guard arms.

``python -m jetvla.services.profiling.guard --config FILE``. Its outputs are log files, so nothing moves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np

from jetvla.runtime.action_spec import ActionDimension, ActionSpec
from jetvla.runtime.clock import Clock, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import Config
from jetvla.runtime.errors import ConfigError
from jetvla.runtime.guard.arming import State
from jetvla.services.daemon import Service, run_daemon
from jetvla.services.guard_daemon import guard_robot, serve_in_time
from jetvla.services.guard_process import GuardProcess

# File beside the rings that tells when the policy was there and the guard first armed.
MOMENTS = "moments.json"
_ARM_EVERY_S = 0.2


class SelfArming:
    """An operator who wants the robot armed; called once a tick."""

    def __init__(self, config: Config, spec: ActionSpec, clock: Clock) -> None:
        self._start = np.array([_middle(d) if d.semantics == "absolute" else np.nan for d in spec.dimensions])
        self._path, self._clock = config.run_dir / MOMENTS, clock
        self._next_try_ns = 0
        self._moments: dict[str, int] = {}

    def __call__(self, process: GuardProcess) -> None:
        now_ns = self._clock.now_ns()
        if "hello" not in self._moments and process.report.policy != "not connected":
            self._moments["hello"] = now_ns
        if process.guard.state is not State.DISARMED or now_ns < self._next_try_ns:
            return
        self._next_try_ns = now_ns + seconds_to_ns(_ARM_EVERY_S)
        process.guard.on_feedback(self._start)
        if not process.arm() and "armed" not in self._moments:
            self._moments["armed"] = now_ns
            self._tell()

    def _tell(self) -> None:
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._moments), encoding="utf-8")
        partial.replace(self._path)


def _middle(dimension: ActionDimension) -> float:
    return 0.0 if dimension.range is None else sum(dimension.range) / 2


def main(argv: Sequence[str] | None = None) -> int:
    """0 when asked to end, 1 on a user's error."""
    return run_daemon("guard", __doc__, measure, argv, serve_in_time, reads=False)


def measure(service: Service) -> None:
    """Run the guard, self-armed, until ``service.asked``.

    Raises:
        ConfigError: if anything that the guard commands could move.
    """
    if any(output.kind != "log" for output in service.config.guard.outputs):
        raise ConfigError("a guard that arms itself takes outputs of kind log only")
    guard_robot(service, SelfArming(service.config, service.bundle.manifest.action, MonotonicClock()))


if __name__ == "__main__":
    sys.exit(main())
