"""A measured run: the guard in this process, the policy in its own, commands into a log file."""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jetvla.runtime.bundle import Bundle
from jetvla.runtime.clock import NS_PER_S, MonotonicClock, seconds_to_ns
from jetvla.runtime.config import Config, load_config
from jetvla.runtime.errors import ConfigError, JetvlaError
from jetvla.runtime.guard.arming import State
from jetvla.runtime.keys import load_trusted
from jetvla.runtime.telemetry.environment import read_environment
from jetvla.services.guard_process import GuardProcess
from jetvla.services.supervisor import POLICY, Daemons

WARM_UP_S = 2.0
READY_S = 120.0
_ARM_EVERY_S = 0.2
_PLACES = {"video": "path", "frames": "path", "v4l2": "device", "ros": "topic"}
# Random weights ask for too much and jump from one chunk to the next; a profile does not judge them.
_UNCOUNTED = {"excess_count": 10**9, "excess_window": 10**9, "seam_ratio": 1e9}
# These run when the instruction changes, which it does once, before the warm-up is over.
_ONCE = ("tokenize", "language")
_PICTURES = 30
_PICTURE_SIZE = (480, 640)


def profile(
    bundle: Path, trusted: Path, camera: str | None, instruction: str, precision: str, seconds: float
) -> dict[str, Any]:
    """Run ``bundle`` for ``seconds`` after warm-up; the figures as a JSON-ready mapping, times in milliseconds.

    Raises:
        JetvlaError: if the bundle is not trusted, the policy ends, or the guard cannot be armed in time.
    """
    opened = Bundle.open(bundle, load_trusted(trusted))
    with tempfile.TemporaryDirectory(prefix="jetvla-profile-") as folder:
        place = Path(folder)
        (place / "run").mkdir()
        settings = _settings(opened, trusted, camera or f"frames:{write_pictures(place)}", instruction, precision)
        path = place / "jetvla.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        with Daemons(path, (POLICY,)) as daemons, GuardProcess(load_config(path), opened) as guard:
            run = _Run(guard, daemons, seconds)
            guard.run(run.over)
        return run.result(opened, load_config(path))


class _Run:
    """Arms as soon as the guard agrees, warms up, measures, ends; asked once a tick."""

    def __init__(self, guard: GuardProcess, daemons: Daemons, seconds: float) -> None:
        self._guard, self._daemons, self._clock = guard, daemons, MonotonicClock()
        self._measure_ns = seconds_to_ns(seconds)
        self._give_up_ns = self._clock.now_ns() + seconds_to_ns(READY_S)
        self._next_try_ns = 0
        self._armed_ns: int | None = None
        self._began_ns: int | None = None
        self._stopped_by = ""
        self.stages: dict[str, dict[str, float]] = {}
        self.stops: list[str] = []

    def over(self) -> bool:
        """Whether the run has ended; moves it on."""
        now_ns = self._clock.now_ns()
        if (status := self._daemons.dead()) is not None:
            raise JetvlaError(f"the {status} process ended; its last lines say why")
        if self._armed_ns is None:
            self._try_to_arm(now_ns)
            return False
        if self._guard.guard.state is not State.ARMED:
            self._resume(now_ns)
        if self._began_ns is None and now_ns - self._armed_ns > seconds_to_ns(WARM_UP_S):
            self._guard.report.stages.reset(keep=_ONCE)
            self._began_ns = now_ns
        if self._began_ns is None or now_ns - self._began_ns < self._measure_ns:
            return False
        self.stages = self._guard.report.stages.summary()
        return True

    def _resume(self, now_ns: int) -> None:
        """Arm again after a stop, as an operator would; the stop is part of the result."""
        reason = self._guard.report.reason
        if self._guard.guard.state is State.LATCHED:
            raise JetvlaError(f"the guard latched, so the run cannot go on: {reason}")
        if self._stopped_by != reason:
            self._stopped_by = reason
            self.stops.append(reason)
        if now_ns >= self._next_try_ns:
            self._next_try_ns = now_ns + seconds_to_ns(_ARM_EVERY_S)
            if not self._guard.guard.refusals():
                self._guard.arm()
                self._stopped_by = ""

    def _try_to_arm(self, now_ns: int) -> None:
        if now_ns < self._next_try_ns:
            return
        self._next_try_ns = now_ns + seconds_to_ns(_ARM_EVERY_S)
        refusals = self._guard.arm()
        if not refusals:
            self._armed_ns = now_ns
        elif now_ns > self._give_up_ns:
            raise JetvlaError(f"the guard cannot be armed within {READY_S:g} s: {'; '.join(refusals)}")

    def result(self, bundle: Bundle, config: Config) -> dict[str, Any]:
        environment = read_environment()
        return {
            "bundle": bundle.digest,
            "policy": f"{bundle.manifest.name}, precision {config.policy.precision}",
            "machine": environment.describe(),
            "environment": environment.as_dict(),
            "scheduling": self._guard.report.scheduling,
            "versions": {p: importlib.metadata.version(p) for p in ("jetvla", "numpy", "onnxruntime")},
            "seconds": self._measure_ns / NS_PER_S,
            "rate_hz": self.stages["step"]["count"] * NS_PER_S / self._measure_ns,
            "stops": self.stops,
            "stages": self.stages,
        }


def _settings(bundle: Bundle, trusted: Path, camera: str, instruction: str, precision: str) -> dict[str, Any]:
    kind, _, where = camera.partition(":")
    if kind not in _PLACES or not where:
        raise ConfigError(f"--camera {camera!r} must be KIND:PLACE, with KIND one of {', '.join(_PLACES)}")
    chosen: dict[str, Any] = {
        "kind": kind,
        _PLACES[kind]: str(Path(where).resolve()) if kind in ("video", "frames") else where,
    }
    if kind in ("video", "frames"):
        chosen["loop"] = True
    return {
        "bundle": str(bundle.path.resolve()),
        "trusted": str(trusted.resolve()),
        "run_dir": "run",
        "cameras": {c.name: chosen for c in bundle.manifest.cameras},
        "instruction": {"text": instruction, "ttl_s": None},
        "policy": {"precision": precision},
        # Also a policy that asks for too much, such as one with random weights, has a speed to measure.
        "guard": {"outputs": [{"kind": "log", "path": "commands.jsonl"}], "limits": _UNCOUNTED},
    }


def write_pictures(folder: Path) -> Path:
    """Smooth random pictures, each another one, as a camera's would be, in ``folder``/pictures."""
    import cv2

    pictures = folder / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for index in range(_PICTURES):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        cv2.imwrite(str(pictures / f"{index:03}.png"), cv2.resize(coarse, _PICTURE_SIZE[::-1]))
    return pictures
